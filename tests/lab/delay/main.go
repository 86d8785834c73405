// Command delay carries packets between pairs of network devices, late: the kernels that the laboratory runs on have no netem.
//
// Each line of its input is "inside outside delay_ms jitter_ms duplicate reorder", the last two in percent, and is answered with "ok". A line
// about devices that it knows changes how they are served.
package main

import (
	"bufio"
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	packetIgnoreOutgoing = 23 // linux/if_packet.h
	receiveBuffer        = 16 << 20
	// maxWaiting bounds the packets under way in one direction; more are lost.
	maxWaiting = 1 << 16
	maxPacket  = 1 << 16
)

// faults is what happens to a packet in one direction.
type faults struct {
	delay, jitter      time.Duration
	duplicate, reorder float64 // share of packets, 0 to 1
}

func main() {
	links := map[string]*atomic.Pointer[faults]{}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var inside, outside string
		var delay, jitter, duplicate, reorder float64
		if _, err := fmt.Sscan(lines.Text(), &inside, &outside, &delay, &jitter, &duplicate, &reorder); err != nil {
			fmt.Println(err)
			continue
		}
		set := &faults{milliseconds(delay), milliseconds(jitter), duplicate / 100, reorder / 100}
		link := links[inside]
		if link == nil {
			link = &atomic.Pointer[faults]{}
			link.Store(set)
			if err := join(inside, outside, link); err != nil {
				fmt.Println(err)
				continue
			}
			links[inside] = link
		}
		link.Store(set)
		fmt.Println("ok")
	}
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

func join(inside, outside string, link *atomic.Pointer[faults]) error {
	a, err := open(inside)
	if err != nil {
		return err
	}
	b, err := open(outside)
	if err != nil {
		return err
	}
	for _, way := range [][2]int{{a, b}, {b, a}} {
		line := &line{to: way[1], earlier: make(chan struct{}, 1)}
		go line.send()
		go line.receive(way[0], link)
	}
	return nil
}

// open opens a socket for all that arrives on a device.
func open(device string) (int, error) {
	card, err := net.InterfaceByName(device)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", device, err)
	}
	everything := uint16(syscall.ETH_P_ALL<<8&0xff00 | syscall.ETH_P_ALL>>8)
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, int(everything))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", device, err)
	}
	err = errors.Join(
		syscall.SetsockoptInt(fd, syscall.SOL_PACKET, packetIgnoreOutgoing, 1),
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, receiveBuffer),
		syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: everything, Ifindex: card.Index}),
	)
	return fd, err
}

// packet is one that waits for its time.
type packet struct {
	due  time.Time
	turn uint64 // of arrival, for those of one time
	data []byte
}

// line is one direction: a heap of packets under way.
type line struct {
	to      int
	earlier chan struct{} // capacity 1: another packet is the first now
	mu      sync.Mutex
	waiting packets   // guarded by mu
	turn    uint64    // guarded by mu
	last    time.Time // due time of the last packet that keeps the order; guarded by mu
}

func (l *line) receive(from int, link *atomic.Pointer[faults]) {
	buffer := make([]byte, maxPacket)
	for {
		n, _, err := syscall.Recvfrom(from, buffer, 0)
		if err != nil {
			if err == syscall.EINTR || err == syscall.ENETDOWN { // ENETDOWN: the plug was pulled, and may come back
				continue
			}
			return
		}
		set := link.Load()
		data := append([]byte(nil), buffer[:n]...)
		l.put(data, set)
		if rand.Float64() < set.duplicate {
			l.put(data, set)
		}
	}
}

func (l *line) put(data []byte, set *faults) {
	due := time.Now().Add(set.delay)
	if set.jitter > 0 {
		due = due.Add(rand.N(set.jitter))
	}
	overtaken := rand.Float64() < set.reorder
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= maxWaiting {
		return
	}
	if overtaken {
		due = due.Add(set.delay/2 + 2*time.Millisecond) // those behind it pass
	} else if due.Before(l.last) {
		due = l.last
	} else {
		l.last = due
	}
	l.turn++
	heap.Push(&l.waiting, packet{due, l.turn, data})
	if l.waiting[0].turn == l.turn {
		select {
		case l.earlier <- struct{}{}:
		default:
		}
	}
}

func (l *line) send() {
	for {
		data, wait := l.next()
		switch {
		case data != nil:
			syscall.Write(l.to, data) // a device that is down loses it
		case wait > 0:
			select {
			case <-time.After(wait):
			case <-l.earlier:
			}
		default:
			<-l.earlier
		}
	}
}

// next takes the packet whose time has come, or tells how long the first one has to wait; 0: there is none.
func (l *line) next() ([]byte, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return nil, 0
	}
	if wait := time.Until(l.waiting[0].due); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&l.waiting).(packet).data, 0
}

// packets is a heap by due time.
type packets []packet

func (p packets) Len() int { return len(p) }
func (p packets) Less(i, j int) bool {
	return p[i].due.Before(p[j].due) || p[i].due.Equal(p[j].due) && p[i].turn < p[j].turn
}
func (p packets) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *packets) Push(x any)   { *p = append(*p, x.(packet)) }
func (p *packets) Pop() any {
	old := *p
	last := old[len(old)-1]
	*p = old[:len(old)-1]
	return last
}
