package core

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Options are plain structs. A field is an option if it has a json tag; the other tags are
//
//	doc  one line for people, in the schema and the reference page
//	min, max  bounds of a number, inclusive
//	enum  the allowed texts, separated by commas; of the items in a list
//
// A struct that comes in carries the defaults. Documents are read strictly: a key that is unknown or given twice, a wrong type, a value out of
// range, or anything behind the document is an *OptionError with the dotted path of the option.

// rawObject is the type of an option that is a JSON object of a form of its own, which checkValues has to look into.
var rawObject = reflect.TypeFor[json.RawMessage]()

// parseOptions reads the JSON object doc into the struct that into points to. An empty doc leaves it as it is. path is put before the
// paths in errors.
func parseOptions(doc []byte, into any, path string) error {
	_, err := parseOptionsNoting(doc, into, path)
	return err
}

// parseOptionsNoting also returns the paths that the document gave.
func parseOptionsNoting(doc []byte, into any, path string) (given []string, err error) {
	if len(bytes.TrimSpace(doc)) == 0 {
		return nil, nil
	}
	value, err := parseJSON(doc, path)
	if err != nil {
		return nil, err
	}
	d := optionDecoder{}
	if err := d.decode(value, reflect.ValueOf(into).Elem(), nil, path); err != nil {
		return nil, err
	}
	return d.given, nil
}

type optionDecoder struct {
	given []string
}

func (d *optionDecoder) decode(value any, into reflect.Value, field *reflect.StructField, path string) error {
	mismatch := func(expected string) error {
		return &OptionError{path, fmt.Sprintf("expected %s, got %s", expected, describeJSON(value))}
	}
	if into.Kind() != reflect.Struct {
		d.given = append(d.given, path)
	}
	if into.Type() == rawObject {
		object, ok := value.(*jsonObject)
		if !ok && value != nil {
			return mismatch("an object")
		}
		into.SetZero()
		if ok {
			doc, err := marshalJSON(object)
			if err != nil {
				return err
			}
			into.SetBytes(doc)
		}
		return nil
	}
	switch into.Kind() {
	case reflect.Struct:
		object, ok := value.(*jsonObject)
		if !ok {
			return mismatch("an object")
		}
		for _, m := range object.members {
			f, ok := optionField(into.Type(), m.key)
			if !ok {
				return &OptionError{joinPath(path, m.key), "unknown option" + suggestion(into.Type(), m.key)}
			}
			if err := d.decode(m.value, into.FieldByIndex(f.Index), &f, joinPath(path, m.key)); err != nil {
				return err
			}
		}
	case reflect.Bool:
		b, ok := value.(bool)
		if !ok {
			return mismatch("true or false")
		}
		into.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64:
		number, ok := value.(json.Number)
		if !ok {
			return mismatch("a whole number")
		}
		n, ok := wholeNumber(number)
		if !ok {
			return mismatch("a whole number")
		}
		if err := checkRange(field, float64(n), path, number); err != nil {
			return err
		}
		if into.OverflowInt(n) {
			return &OptionError{path, fmt.Sprintf("%s is out of range", number)}
		}
		into.SetInt(n)
	case reflect.Float64:
		number, ok := value.(json.Number)
		if !ok {
			return mismatch("a number")
		}
		f, err := number.Float64()
		if err != nil {
			return &OptionError{path, fmt.Sprintf("%s is out of range", number)}
		}
		if err := checkRange(field, f, path, number); err != nil {
			return err
		}
		into.SetFloat(f)
	case reflect.String:
		s, ok := value.(string)
		if !ok {
			return mismatch("a text")
		}
		if err := checkEnum(field, s, path); err != nil {
			return err
		}
		into.SetString(s)
	case reflect.Slice:
		if value == nil {
			into.SetZero()
			return nil
		}
		items, ok := value.([]any)
		if !ok {
			return mismatch("a list of texts")
		}
		texts := make([]string, len(items))
		for i, item := range items {
			s, ok := item.(string)
			at := fmt.Sprintf("%s[%d]", path, i)
			if !ok {
				return &OptionError{at, "expected a text, got " + describeJSON(item)}
			}
			if err := checkEnum(field, s, at); err != nil {
				return err
			}
			texts[i] = s
		}
		into.Set(reflect.ValueOf(texts))
	default:
		return Errorf(ErrInternal, "%s: option of unsupported type %s", path, into.Type())
	}
	return nil
}

// setOption sets the option at path to value: JSON, the bare text for a text, or one item per line for a list of texts. What the struct
// holds after an error is undefined.
func setOption(into any, path, value string) (given []string, err error) {
	target, field, err := findOption(reflect.ValueOf(into).Elem(), path)
	if err != nil {
		return nil, err
	}
	d := optionDecoder{}
	var parsed any
	trimmed := strings.TrimSpace(value)
	switch {
	case target.Kind() == reflect.String && !strings.HasPrefix(trimmed, `"`):
		parsed = value
	case target.Kind() == reflect.Slice && target.Type() != rawObject && !strings.HasPrefix(trimmed, "[") && trimmed != "null":
		items := []any{}
		for line := range strings.Lines(value) {
			if line = strings.TrimSpace(line); line != "" {
				items = append(items, line)
			}
		}
		parsed = items
	default:
		if parsed, err = parseJSON([]byte(value), path); err != nil {
			return nil, err
		}
	}
	if s, ok := parsed.(string); ok && !utf8.ValidString(s) {
		return nil, &OptionError{path, "not UTF-8"}
	}
	if err := d.decode(parsed, target, field, path); err != nil {
		return nil, err
	}
	return d.given, nil
}

// findOption finds the value at path, the struct itself for "".
func findOption(root reflect.Value, path string) (reflect.Value, *reflect.StructField, error) {
	value := root
	var field *reflect.StructField
	at := ""
	if path == "" {
		return value, nil, nil
	}
	for key := range strings.SplitSeq(path, ".") {
		at = joinPath(at, key)
		if value.Kind() != reflect.Struct {
			return value, nil, &OptionError{at, "unknown option"}
		}
		f, ok := optionField(value.Type(), key)
		if !ok {
			return value, nil, &OptionError{at, "unknown option" + suggestion(value.Type(), key)}
		}
		value, field = value.FieldByIndex(f.Index), &f
	}
	return value, field, nil
}

func optionField(t reflect.Type, key string) (reflect.StructField, bool) {
	for _, f := range optionFields(t) {
		if optionName(f) == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// optionFields lists the fields of t that are options.
func optionFields(t reflect.Type) []reflect.StructField {
	var fields []reflect.StructField
	for f := range t.Fields() {
		if name := optionName(f); f.IsExported() && name != "" && name != "-" {
			fields = append(fields, f)
		}
	}
	return fields
}

func optionName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func joinPath(path, key string) string {
	if len(key) > 64 {
		key = strings.ToValidUTF8(key[:64], "") + "..."
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// suggestion names the option that was probably meant.
func suggestion(t reflect.Type, key string) string {
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	var names []string
	for _, f := range optionFields(t) {
		name := optionName(f)
		if plain(name) == plain(key) || plain(strings.TrimSuffix(name, "_ms")) == plain(key) {
			return fmt.Sprintf("; did you mean %q?", name)
		}
		names = append(names, name)
	}
	return "; there are " + strings.Join(names, ", ")
}

func wholeNumber(number json.Number) (int64, bool) {
	if n, err := number.Int64(); err == nil {
		return n, true
	}
	f, err := number.Float64()
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

func checkRange(field *reflect.StructField, n float64, path string, number json.Number) error {
	if field == nil {
		return nil
	}
	low, hasLow := tagNumber(field, "min")
	high, hasHigh := tagNumber(field, "max")
	switch {
	case hasLow && hasHigh && (n < low || n > high):
		return &OptionError{path, fmt.Sprintf("%s is out of range %s to %s", number, field.Tag.Get("min"), field.Tag.Get("max"))}
	case hasLow && n < low:
		return &OptionError{path, fmt.Sprintf("%s is out of range: at least %s", number, field.Tag.Get("min"))}
	case hasHigh && n > high:
		return &OptionError{path, fmt.Sprintf("%s is out of range: at most %s", number, field.Tag.Get("max"))}
	}
	return nil
}

func tagNumber(field *reflect.StructField, tag string) (float64, bool) {
	text, ok := field.Tag.Lookup(tag)
	if !ok || text == "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil
}

func checkEnum(field *reflect.StructField, s, path string) error {
	if field == nil {
		return nil
	}
	enum, ok := field.Tag.Lookup("enum")
	if !ok {
		return nil
	}
	for allowed := range strings.SplitSeq(enum, ",") {
		if s == allowed {
			return nil
		}
	}
	return &OptionError{path, fmt.Sprintf("%s is none of %s", quoteShort(s), strings.ReplaceAll(enum, ",", ", "))}
}

func quoteShort(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "..."
	}
	return strconv.Quote(s)
}
