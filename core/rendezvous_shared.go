package core

import (
	"context"
	"slices"
	"sync"
)

// registrations is what this node has registered at rendezvous points. A point knows one registration of a peer and name, whoever in the node made it.
type registrations struct {
	mu sync.Mutex
	by map[rendezvousKey]*registration // guarded by mu
}

// registration is at a point, for as long as somebody of this node uses it.
type registration struct {
	users []*rendezvousPoint
	noted bool          // the point knows of it
	ended chan struct{} // nil: in use; else closed when the last user has taken it back
}

// join adds a user, once. While the last one before it takes the registration back it waits: a point may read what comes on two streams in either order.
func (r *registrations) join(ctx context.Context, p *rendezvousPoint, topic string) error {
	key := rendezvousKey{p.id, topic}
	for {
		r.mu.Lock()
		at := r.by[key]
		if at == nil || at.ended == nil {
			defer r.mu.Unlock()
			if at == nil {
				at = &registration{}
				if r.by == nil {
					r.by = map[rendezvousKey]*registration{}
				}
				r.by[key] = at
			}
			if !slices.Contains(at.users, p) {
				at.users = append(at.users, p)
			}
			return nil
		}
		r.mu.Unlock()
		select {
		case <-at.ended:
		case <-ctx.Done():
			return ctxError(ctx, "register with %s", p.id)
		}
	}
}

// noted says that the point may know of the registration.
func (r *registrations) noted(p *rendezvousPoint, topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at := r.by[rendezvousKey{p.id, topic}]; at != nil && slices.Contains(at.users, p) {
		at.noted = true
	}
}

// leave removes a user, if it is one. The last one takes the registration back; any other has one that stays say it again, for the point knows the
// addresses and the time of whoever said them last.
func (r *registrations) leave(p *rendezvousPoint, topic string) {
	key := rendezvousKey{p.id, topic}
	r.mu.Lock()
	at := r.by[key]
	i := -1
	if at != nil {
		i = slices.Index(at.users, p)
	}
	if i < 0 {
		r.mu.Unlock()
		return
	}
	at.users = slices.Delete(at.users, i, i+1)
	if len(at.users) > 0 {
		wake(at.users[0].changed)
		r.mu.Unlock()
		return
	}
	at.ended = make(chan struct{})
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.by, key)
		r.mu.Unlock()
		close(at.ended)
	}()
	if at.noted {
		p.sayUnregister(topic)
	}
}
