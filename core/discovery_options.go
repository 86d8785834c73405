package core

// The options of the calls that find peers, as the schema shows them.
func init() {
	optionKindOrder = append(optionKindOrder, "rendezvous_register", "rendezvous_discover", "discovery_advertise", "discovery_find", "discovery_join")
	registerOptions("rendezvous_register", "options of a registration with a rendezvous point", func() any { o, _ := ParseRegisterOptions(nil); return &o })
	registerOptions("rendezvous_discover", "options of a question to a rendezvous point", func() any { o, _ := ParseDiscoverOptions(nil); return &o })
	registerOptions("discovery_advertise", "options for advertising a topic", func() any { o, _ := ParseAdvertiseOptions(nil); return &o })
	registerOptions("discovery_find", "options of a look for peers of a topic", func() any { o, _ := ParseFindOptions(nil); return &o })
	registerOptions("discovery_join", "options for joining a topic", func() any { o, _ := ParseMeetOptions(nil); return &o })
}
