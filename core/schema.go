package core

// optionKind is a struct of options with its place in the schema.
type optionKind struct {
	name, title string
	defaults    func() any // pointer to a struct of defaults
}

var optionKinds []optionKind

// registerOptions puts the options of a richer call into the schema; called from init. name is one of the schema's definitions
// ("stream_serve"), title says what takes them, defaults returns a pointer to a struct that carries the defaults.
func registerOptions(name, title string, defaults func() any) {
	optionKinds = append(optionKinds, optionKind{name, title, defaults})
}
