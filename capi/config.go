package main

// #include "bridge.h"
import "C"

import (
	"sync"

	"github.com/libp2pgo/libp2pgo/core"
)

// config is a core.Config that several threads may use.
type config struct {
	mu  sync.Mutex
	cfg *core.Config // guarded by mu
}

//export go_config_new
func go_config_new(json *C.char, out *C.p2p_handle) (rc C.int) {
	defer trap(&rc)
	cfg, err := core.ParseConfig([]byte(text(json)))
	if err != nil {
		return fail(err)
	}
	h := newHandle(kindConfig, nil)
	if err := h.open(&config{cfg: cfg}, nil); err != nil {
		return fail(err)
	}
	*out = h.id
	return 0
}

// withConfig runs fn on the config of a handle.
func withConfig(id C.p2p_handle, fn func(*core.Config) error) C.int {
	_, c, code := find[*config](id, kindConfig)
	if code < 0 {
		return code
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := fn(c.cfg); err != nil {
		return fail(err)
	}
	return 0
}

//export go_config_set
func go_config_set(id C.p2p_handle, path, value *C.char) (rc C.int) {
	defer trap(&rc)
	return withConfig(id, func(c *core.Config) error { return c.Set(text(path), text(value)) })
}

//export go_config_set_secret
func go_config_set_secret(id C.p2p_handle, path *C.char, data *C.uint8_t, n C.size_t) (rc C.int) {
	defer trap(&rc)
	return withConfig(id, func(c *core.Config) error { return c.SetSecret(text(path), copied(data, n)) })
}

//export go_config_get
func go_config_get(id C.p2p_handle, path *C.char, out **C.char) (rc C.int) {
	defer trap(&rc)
	var doc []byte
	code := withConfig(id, func(c *core.Config) (err error) {
		doc, err = c.Get(text(path))
		return err
	})
	if code < 0 {
		return code
	}
	return putText(out, string(doc))
}

//export go_config_schema
func go_config_schema(out **C.char) (rc C.int) {
	defer trap(&rc)
	return putText(out, string(core.Schema()))
}
