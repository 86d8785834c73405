package core

// The options of the calls that exchange streams, requests and messages, as the schema shows them.
func init() {
	registerOptions("stream_serve", "options for serving streams", func() any { o, _ := ParseServeOptions(nil); return &o })
	registerOptions("stream_open", "options for opening a stream", func() any { o, _ := ParseOpenOptions(nil); return &o })
	registerOptions("request", "options of a request", func() any { o, _ := ParseRequestOptions(nil); return &o })
	registerOptions("request_serve", "options for serving requests", func() any { o, _ := ParseRequestServeOptions(nil); return &o })
	registerOptions("topic", "options of a topic", func() any { o, _ := ParseTopicOptions(nil); return &o })
	registerOptions("subscription", "options of a subscription", func() any { o, _ := ParseSubscribeOptions(nil); return &o })
}
