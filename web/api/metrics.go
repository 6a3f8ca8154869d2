package api

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Sample is one measured value of another part of the system.
type Sample struct {
	// Name begins with "kumo_"; Help is one sentence. Samples of one name have
	// the same Help and label names.
	Name, Help string
	Labels     map[string]string
	Value      float64
	// Counter values only grow; others are gauges.
	Counter bool
}

// meters measures requests by API message.
type meters struct {
	reg      *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec

	mu    sync.Mutex
	known map[string]*meter

	poll, unknown *meter
}

// meter measures one message. Its series appear with its first request; the
// usual statuses are looked up once.
type meter struct {
	message  string
	all      *meters
	once     sync.Once
	duration prometheus.Observer
	ok       prometheus.Counter
	accepted prometheus.Counter
}

func newMeters(samples func() []Sample) *meters {
	m := &meters{
		reg: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kumo_api_requests_total",
			Help: "Answered API requests by message and HTTP status."}, []string{"message", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kumo_api_duration_seconds",
			Help:    "Time from a request's headers to its answer.",
			Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 30, 300}}, []string{"message"}),
		known: map[string]*meter{},
	}
	m.reg.MustRegister(m.requests, m.duration, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if samples != nil {
		m.reg.MustRegister(sampler(samples))
	}
	m.poll, m.unknown = m.of("job-poll"), m.of("unknown")
	return m
}

func (m *meters) of(message string) *meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.known[message]; k != nil {
		return k
	}
	k := &meter{message: message, all: m}
	m.known[message] = k
	return k
}

func (m *meter) done(status int, start time.Time) {
	m.once.Do(func() {
		m.duration = m.all.duration.WithLabelValues(m.message)
		m.ok = m.all.requests.WithLabelValues(m.message, "200")
		m.accepted = m.all.requests.WithLabelValues(m.message, "202")
	})
	switch status {
	case http.StatusOK:
		m.ok.Inc()
	case http.StatusAccepted:
		m.accepted.Inc()
	default:
		m.all.requests.WithLabelValues(m.message, strconv.Itoa(status)).Inc()
	}
	m.duration.Observe(time.Since(start).Seconds())
}

func (m *meters) handler() http.Handler {
	return promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// sampler turns Samples into metrics when they are asked for.
type sampler func() []Sample

// Describe sends nothing: which samples there are changes at run time.
func (s sampler) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s sampler) Collect(out chan<- prometheus.Metric) {
	for _, v := range s() {
		kind := prometheus.GaugeValue
		if v.Counter {
			kind = prometheus.CounterValue
		}
		m, err := prometheus.NewConstMetric(prometheus.NewDesc(v.Name, v.Help, nil, v.Labels), kind, v.Value)
		if err != nil {
			m = prometheus.NewInvalidMetric(prometheus.NewDesc(v.Name, v.Help, nil, nil), err)
		}
		out <- m
	}
}
