package core

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// optionKind is a struct of options with its place in the schema.
type optionKind struct {
	name, title string
	defaults    func() any // pointer to a struct of defaults
}

var optionKinds = []optionKind{{"node", "options of a node", func() any { return DefaultConfig() }}}

// optionKindOrder is the order of the schema and of the reference page.
var optionKindOrder = []string{"node", "stream_serve", "stream_open", "request", "request_serve", "topic", "topic_score", "pubsub_trace", "subscription",
	"dht_put", "dht_get", "dht_search", "dht_providers", "dht_set",
	"metrics_serve", "perf_serve", "perf", "log_output", "explain",
	"address_resolve", "cid", "cid_text"}

// registerOptions puts the options of a richer call into the schema; called from init. name is one of the schema's definitions
// ("stream_serve"), title says what takes them, defaults returns a pointer to a struct that carries the defaults.
func registerOptions(name, title string, defaults func() any) {
	optionKinds = append(optionKinds, optionKind{name, title, defaults})
}

// Schema returns the JSON Schema (2020-12) of a node's options, "node", and of those of each richer call, as its $defs. The schema itself is
// that of a node. An option has its type, range, default and a line of description. "x-secrets" lists what only SetSecret takes.
func Schema() []byte {
	kinds := slices.Clone(optionKinds)
	slices.SortStableFunc(kinds, func(a, b optionKind) int {
		return optionPlace(a.name) - optionPlace(b.name)
	})
	defs := ordered{}
	for _, kind := range kinds {
		schema := structSchema(reflect.ValueOf(kind.defaults()).Elem())
		schema = append(ordered{{"title", kind.title}}, schema...)
		if kind.name == "node" {
			schema = append(schema, member{"x-secrets", []string{"identity.key", "private_network.key"}})
		}
		defs = append(defs, member{kind.name, schema})
	}
	doc, err := marshalJSON(ordered{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", "libp2pgo options"},
		{"$ref", "#/$defs/node"},
		{"$defs", defs},
	})
	if err != nil {
		panic(err) // a bug in the tables above; a test calls this
	}
	return doc
}

// optionPlace puts what has no place in the order behind the rest.
func optionPlace(name string) int {
	if i := slices.Index(optionKindOrder, name); i >= 0 {
		return i
	}
	return len(optionKindOrder)
}

// ordered is a JSON object that keeps its order.
type ordered []member

type member struct {
	key   string
	value any
}

func (o ordered) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := marshalJSON(m.key)
		if err != nil {
			return nil, err
		}
		value, err := marshalJSON(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return []byte(b.String()), nil
}

func structSchema(defaults reflect.Value) ordered {
	properties := ordered{}
	for _, f := range optionFields(defaults.Type()) {
		properties = append(properties, member{optionName(f), fieldSchema(f, defaults.FieldByIndex(f.Index))})
	}
	return ordered{{"type", "object"}, {"additionalProperties", false}, {"properties", properties}}
}

func fieldSchema(f reflect.StructField, value reflect.Value) ordered {
	schema := ordered{}
	enum := func() []string { return strings.Split(f.Tag.Get("enum"), ",") }
	_, hasEnum := f.Tag.Lookup("enum")
	if f.Type == rawObject {
		return ordered{{"type", []string{"object", "null"}}, {"description", f.Tag.Get("doc")}, {"default", nil}}
	}
	switch f.Type.Kind() {
	case reflect.Struct:
		schema = structSchema(value)
		return append(ordered{schema[0], {"description", f.Tag.Get("doc")}}, schema[1:]...)
	case reflect.Bool:
		schema = append(schema, member{"type", "boolean"})
	case reflect.Int, reflect.Int32, reflect.Int64:
		schema = append(schema, member{"type", "integer"})
	case reflect.Float64:
		schema = append(schema, member{"type", "number"})
	case reflect.String:
		schema = append(schema, member{"type", "string"})
		if hasEnum {
			schema = append(schema, member{"enum", enum()})
		}
	case reflect.Slice:
		items := ordered{{"type", "string"}}
		if hasEnum {
			items = append(items, member{"enum", enum()})
		}
		schema = append(schema, member{"type", []string{"array", "null"}}, member{"items", items})
	}
	schema = append(schema, member{"description", f.Tag.Get("doc")})
	for _, bound := range [][2]string{{"min", "minimum"}, {"max", "maximum"}} {
		if _, ok := tagNumber(&f, bound[0]); ok {
			schema = append(schema, member{bound[1], json.Number(f.Tag.Get(bound[0]))})
		}
	}
	return append(schema, member{"default", value.Interface()})
}
