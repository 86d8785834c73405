package core

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MetricsConfig says what of a node's traffic is counted and named.
type MetricsConfig struct {
	Bandwidth bool `json:"bandwidth" doc:"count the bytes of streams, in all, per peer and per protocol"`
	Peers     int  `json:"peers" min:"0" max:"4096" doc:"peers that metrics name, those with the most bytes; 0: none"`
	Protocols int  `json:"protocols" min:"0" max:"1024" doc:"protocols that metrics name, those with the most bytes; 0: none"`
}

// numbers is what a node counts of itself, and the list of those who add to it. Upstream's own collectors are variables of the process,
// where the nodes of one process add up.
type numbers struct {
	bandwidth bandwidth
	dials     dialNumbers
	refusals  refusals

	mu      sync.Mutex
	sources []*measure // guarded by mu
}

// measure is one who adds numbers.
type measure struct {
	name string
	fn   func(*Measurements)
}

// Measure has fn called, with what it shall add to, whenever somebody looks at the node's numbers, until remove. It must not wait. name is for the log.
func (n *Node) Measure(name string, fn func(*Measurements)) (remove func()) {
	m := &measure{name, fn}
	n.numbers.mu.Lock()
	defer n.numbers.mu.Unlock()
	n.numbers.sources = append(n.numbers.sources, m)
	return func() {
		n.numbers.mu.Lock()
		defer n.numbers.mu.Unlock()
		if i := slices.Index(n.numbers.sources, m); i >= 0 {
			n.numbers.sources = slices.Delete(n.numbers.sources, i, i+1)
		}
	}
}

// Metrics returns the node's numbers of this moment. It costs no network.
func (n *Node) Metrics() *Measurements {
	m := &Measurements{Node: n.ID().String(), Time: time.Now(), families: map[string]*Family{}}
	n.numbers.mu.Lock()
	sources := slices.Clone(n.numbers.sources)
	n.numbers.mu.Unlock()
	for _, s := range sources {
		guarded("numbers of "+s.name, func() { s.fn(m) })
	}
	return m
}

// Measurements are the numbers of one moment, by family.
type Measurements struct {
	Node     string
	Time     time.Time
	families map[string]*Family
	names    []string // in the order in which they came
}

// Family is all numbers of one name, which differ by their labels.
type Family struct {
	Name, Type, Help string
	samples          []sample
}

type sample struct {
	labels []string // name, value, name, value, ...
	value  float64
	spread *spread // of a histogram, nil otherwise
}

// Families returns all of them, in the order of the texts.
func (m *Measurements) Families() []*Family {
	families := make([]*Family, len(m.names))
	for i, name := range m.names {
		families[i] = m.families[name]
	}
	return families
}

// Labels returns the names of the labels of the family's first number.
func (f *Family) Labels() (names []string) {
	if len(f.samples) > 0 {
		for i := 0; i < len(f.samples[0].labels); i += 2 {
			names = append(names, f.samples[0].labels[i])
		}
	}
	return names
}

// Counter returns the family of a number that only grows; its name ends in _total.
func (m *Measurements) Counter(name, help string) *Family { return m.family(name, "counter", help) }

// Gauge returns the family of a number that goes up and down.
func (m *Measurements) Gauge(name, help string) *Family { return m.family(name, "gauge", help) }

func (m *Measurements) family(name, kind, help string) *Family {
	f := m.families[name]
	if f == nil {
		f = &Family{Name: name, Type: kind, Help: help}
		m.families[name] = f
		m.names = append(m.names, name)
	}
	return f
}

// Add adds a number with its labels, as name, value, name, value. A family to which nothing is added still shows that it exists.
func (f *Family) Add(value float64, labels ...string) {
	f.samples = append(f.samples, sample{labels: labels, value: value})
}

// Count is Add for a whole number.
func (f *Family) Count(value int64, labels ...string) { f.Add(float64(value), labels...) }

// histogram counts times by their size.
type histogram struct {
	counts [len(secondsBounds) + 1]atomic.Int64
	sum    atomic.Int64 // nanoseconds
}

// secondsBounds are the upper bounds of a histogram of seconds.
var secondsBounds = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

func (h *histogram) observe(d time.Duration) {
	i, _ := slices.BinarySearch(secondsBounds[:], d.Seconds())
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// spread is a histogram at one moment; its counts add up from the smallest bound to the largest.
type spread struct {
	counts []int64
	sum    float64
}

// histogram adds a histogram.
func (m *Measurements) histogram(name, help string, h *histogram, labels ...string) {
	s := &spread{sum: time.Duration(h.sum.Load()).Seconds()}
	var all int64
	for i := range h.counts {
		all += h.counts[i].Load()
		s.counts = append(s.counts, all)
	}
	f := m.family(name, "histogram", help)
	f.samples = append(f.samples, sample{labels: labels, spread: s})
}

// Prometheus writes the numbers in Prometheus' text format, version 0.0.4.
func (m *Measurements) Prometheus() string {
	var b strings.Builder
	for _, name := range m.names {
		f := m.families[name]
		b.WriteString("# HELP " + name + " " + helpEscapes.Replace(f.Help) + "\n# TYPE " + name + " " + f.Type + "\n")
		for _, s := range f.samples {
			if s.spread == nil {
				writeSample(&b, name, s.labels, s.value)
				continue
			}
			for i, n := range s.spread.counts {
				writeSample(&b, name+"_bucket", append(slices.Clone(s.labels), "le", boundText(i)), float64(n))
			}
			writeSample(&b, name+"_sum", s.labels, s.spread.sum)
			writeSample(&b, name+"_count", s.labels, float64(s.spread.counts[len(s.spread.counts)-1]))
		}
	}
	return b.String()
}

var (
	helpEscapes  = strings.NewReplacer("\\", "\\\\", "\n", "\\n")
	labelEscapes = strings.NewReplacer("\\", "\\\\", "\n", "\\n", "\"", "\\\"")
)

func boundText(i int) string {
	if i >= len(secondsBounds) {
		return "+Inf"
	}
	return numberText(secondsBounds[i])
}

func numberText(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func writeSample(b *strings.Builder, name string, labels []string, value float64) {
	b.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(labels[i] + `="` + labelEscapes.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD")) + `"`)
	}
	if len(labels) > 0 {
		b.WriteByte('}')
	}
	b.WriteString(" " + numberText(value) + "\n")
}

// JSON writes the numbers as {"node", "time_ms", "metrics": {name: {"type", "help", "samples": [{"labels", "value"}]}}}. A sample of a
// histogram has "count", "sum" and "buckets", with "le" the upper bound, instead of "value".
func (m *Measurements) JSON() ([]byte, error) {
	type bucket struct {
		Le    string `json:"le"`
		Count int64  `json:"count"`
	}
	metrics := ordered{}
	for _, name := range m.names {
		f := m.families[name]
		samples := []ordered{}
		for _, s := range f.samples {
			labels := ordered{}
			for i := 0; i+1 < len(s.labels); i += 2 {
				labels = append(labels, member{s.labels[i], strings.ToValidUTF8(s.labels[i+1], "\uFFFD")})
			}
			if s.spread == nil {
				samples = append(samples, ordered{{"labels", labels}, {"value", s.value}})
				continue
			}
			buckets := []bucket{}
			for i, n := range s.spread.counts {
				buckets = append(buckets, bucket{boundText(i), n})
			}
			all := s.spread.counts[len(s.spread.counts)-1]
			samples = append(samples, ordered{{"labels", labels}, {"count", all}, {"sum", s.spread.sum}, {"buckets", buckets}})
		}
		metrics = append(metrics, member{name, ordered{{"type", f.Type}, {"help", f.Help}, {"samples", samples}}})
	}
	return marshalJSON(ordered{{"node", m.Node}, {"time_ms", m.Time.UnixMilli()}, {"metrics", metrics}})
}

// tally counts by two words.
type tally struct {
	mu     sync.Mutex
	counts map[[2]string]int64 // guarded by mu
}

func (t *tally) add(a, b string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[[2]string]int64{}
	}
	t.counts[[2]string{a, b}]++
}

// into adds the counts to f, labelled with the words under these names.
func (t *tally) into(f *Family, a, b string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := make([][2]string, 0, len(t.counts))
	for key := range t.counts {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(x, y [2]string) int { return slices.Compare(x[:], y[:]) })
	for _, key := range keys {
		f.Count(t.counts[key], a, key[0], b, key[1])
	}
}
