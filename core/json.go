package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// jsonObject is an object with its members in the order of the document.
type jsonObject struct {
	members []jsonMember
}

type jsonMember struct {
	key   string
	value any // nil, bool, json.Number, string, []any or *jsonObject
}

func (o *jsonObject) get(key string) (any, bool) {
	for _, m := range o.members {
		if m.key == key {
			return m.value, true
		}
	}
	return nil, false
}

// MarshalJSON keeps the order of the document.
func (o *jsonObject) MarshalJSON() ([]byte, error) {
	members := make(ordered, 0, len(o.members))
	for _, m := range o.members {
		members = append(members, member{m.key, m.value})
	}
	return members.MarshalJSON()
}

// maxJSONDepth is deeper than any option lies.
const maxJSONDepth = 32

// parseJSON reads one JSON document and nothing behind it. encoding/json alone takes the last of two equal keys and ignores case; here a
// key that comes twice is an error. path is where the document belongs, for errors.
func parseJSON(doc []byte, path string) (any, error) {
	if !utf8.Valid(doc) {
		return nil, &OptionError{path, "not UTF-8"}
	}
	decoder := json.NewDecoder(bytes.NewReader(doc))
	decoder.UseNumber()
	value, err := parseJSONValue(decoder, doc, path, 0)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, &OptionError{path, fmt.Sprintf("malformed JSON: something follows its end at byte %d", decoder.InputOffset())}
	}
	return value, nil
}

func parseJSONValue(decoder *json.Decoder, doc []byte, path string, depth int) (any, error) {
	if depth > maxJSONDepth {
		return nil, &OptionError{path, "nested too deeply"}
	}
	token, err := decoder.Token()
	if err != nil {
		return nil, jsonSyntaxError(err, len(doc), path)
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	switch delim {
	case '{':
		object := &jsonObject{}
		for decoder.More() {
			token, err := decoder.Token()
			if err != nil {
				return nil, jsonSyntaxError(err, len(doc), path)
			}
			key := token.(string)
			if _, twice := object.get(key); twice {
				return nil, &OptionError{joinPath(path, key), "given twice"}
			}
			value, err := parseJSONValue(decoder, doc, joinPath(path, key), depth+1)
			if err != nil {
				return nil, err
			}
			object.members = append(object.members, jsonMember{key, value})
		}
		if _, err := decoder.Token(); err != nil {
			return nil, jsonSyntaxError(err, len(doc), path)
		}
		return object, nil
	case '[':
		list := []any{}
		for decoder.More() {
			value, err := parseJSONValue(decoder, doc, fmt.Sprintf("%s[%d]", path, len(list)), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		if _, err := decoder.Token(); err != nil {
			return nil, jsonSyntaxError(err, len(doc), path)
		}
		return list, nil
	}
	return nil, &OptionError{path, "malformed JSON"}
}

func jsonSyntaxError(err error, length int, path string) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return &OptionError{path, fmt.Sprintf("malformed JSON at byte %d: %s", syntax.Offset, oneLine(syntax.Error()))}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &OptionError{path, fmt.Sprintf("malformed JSON: it ends at byte %d, unfinished", length)}
	}
	return &OptionError{path, "malformed JSON: " + oneLine(err.Error())}
}

// describeJSON names a value's type, and the value if it is short.
func describeJSON(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case bool:
		return fmt.Sprint(v)
	case json.Number:
		return v.String()
	case string:
		return "the text " + quoteShort(v)
	case []any:
		return "a list"
	case *jsonObject:
		return "an object"
	}
	return fmt.Sprintf("%T", value)
}

// marshalJSON is json.Marshal without escapes for HTML.
func marshalJSON(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, Errorf(ErrInternal, "JSON: %s", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
