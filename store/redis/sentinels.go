package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

const (
	// trust is how long what a sentinel has told counts.
	trust = heartbeat + heartbeatTimeout
	// maxSentinels is how many sentinels are asked at most.
	maxSentinels = 32
)

// sentinels asks the sentinels of a deployment again and again which server is the primary.
//
// One of them alone may be cut off from the others, together with a primary that they have replaced since. A failover needs the votes of more
// than half of those that its leader knows (Redis, "High availability with Redis Sentinel"), so a primary is believed only while half of them name it: then
// none can have been decided without one of these. The one that has voted hears of the new primary, by a configuration of a higher
// epoch, when the failover is done. Of several primaries that of the highest epoch counts.
type sentinels struct {
	store *Store
	named atomic.Pointer[namedPrimary]
	news  chan struct{} // of another primary, or of a sentinel that has been asked for the first time; has room for one

	mu    sync.Mutex
	asked map[string]*askedSentinel // by address
}

// A namedPrimary is the primary that enough sentinels name.
type namedPrimary struct {
	address string
	until   time.Time // when they would have to name it again
}

// An askedSentinel is what an address has told last, if it is that of a sentinel.
type askedSentinel struct {
	stop   context.CancelFunc
	report *sentinelReport // nil before the first
	err    error           // why there is none after it; nil if there is
}

// A sentinelReport is what one sentinel has told.
type sentinelReport struct {
	at      time.Time
	id      string // of the sentinel, which may have several addresses
	primary string // address
	epoch   uint64 // of the configuration that names it
	others  []string
}

// newSentinels begins to ask the sentinels of the URL.
func newSentinels(s *Store) *sentinels {
	w := &sentinels{store: s, news: make(chan struct{}, 1), asked: make(map[string]*askedSentinel)}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, address := range s.target.hosts {
		w.begin(address)
	}
	return w
}

// begin begins to ask an address, unless that is done already or there are too many.
func (w *sentinels) begin(address string) {
	if w.asked[address] != nil || len(w.asked) >= maxSentinels {
		return
	}
	ctx, stop := context.WithCancel(w.store.ctx)
	w.asked[address] = &askedSentinel{stop: stop}
	w.store.work.Go(func() {
		for ctx.Err() == nil {
			err := w.ask(ctx, address)
			w.told(address, nil, err)
			pause(ctx, retryPause)
		}
	})
}

// ask asks a sentinel for as long as one connection to it lasts.
func (w *sentinels) ask(ctx context.Context, address string) error {
	client, err := rueidis.NewClient(w.options(address))
	if err != nil {
		return err
	}
	defer func() { go client.Close() }() // which waits for a server that hangs
	for {
		report, err := w.report(ctx, client)
		if err != nil {
			return err
		}
		w.told(address, report, nil)
		pause(ctx, refreshInterval/2)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// options returns the options of a client of one sentinel alone.
func (w *sentinels) options(address string) rueidis.ClientOption {
	t := w.store.target
	o := w.store.optionsOf(address)
	o.Username, o.Password, o.SelectDB = t.sentinelUser, t.sentinelPassword, 0
	o.DialCtxFn = w.store.dialer(nil, t.sentinelPassword)
	return o
}

// report asks a sentinel.
func (w *sentinels) report(ctx context.Context, client rueidis.Client) (*sentinelReport, error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	name := w.store.target.master
	commands := rueidis.Commands{
		client.B().Arbitrary("SENTINEL", "MYID").Build(),
		client.B().Arbitrary("SENTINEL", "MASTER").Args(name).Build(),
		client.B().SentinelSentinels().Master(name).Build(),
	}
	r := &sentinelReport{at: time.Now()}
	answers, err := await(ctx, func() []rueidis.RedisResult { return client.DoMulti(ctx, commands...) })
	if err != nil {
		return nil, err
	}
	if r.id, err = answers[0].ToString(); err != nil {
		return nil, wrap(err)
	}
	primary, err := answers[1].AsStrMap()
	if err != nil {
		return nil, wrap(err)
	}
	r.epoch, err = strconv.ParseUint(primary["config-epoch"], 10, 64)
	if err != nil || primary["ip"] == "" || primary["port"] == "" {
		return nil, errors.New("redisstore: SENTINEL MASTER was answered by something else")
	}
	r.primary = net.JoinHostPort(primary["ip"], primary["port"])
	others, err := answers[2].ToArray()
	if err != nil {
		return nil, wrap(err)
	}
	for i := range others {
		other, err := others[i].AsStrMap()
		if err != nil {
			return nil, wrap(err)
		}
		r.others = append(r.others, net.JoinHostPort(other["ip"], other["port"]))
	}
	return r, nil
}

// told takes what came of asking an address: a report, or an error.
func (w *sentinels) told(address string, report *sentinelReport, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked[address]
	if asked == nil {
		return // no more
	}
	isFirst := asked.report == nil && asked.err == nil
	if asked.err = err; report != nil {
		asked.report = report
		for _, other := range report.others {
			w.begin(other)
		}
	}
	w.forget(time.Now())
	before := w.named.Load()
	named, _ := judgeReports(w.reports(), time.Now())
	w.named.Store(named)
	if isFirst || named != nil && (before == nil || before.address != named.address) {
		select {
		case w.news <- struct{}{}:
		default:
		}
	}
}

// forget ends to ask addresses that neither the URL nor any sentinel names now.
func (w *sentinels) forget(now time.Time) {
	for address, asked := range w.asked {
		if slices.Contains(w.store.target.hosts, address) {
			continue
		}
		isNamed := slices.ContainsFunc(w.reports(), func(r *sentinelReport) bool {
			return now.Sub(r.at) < trust && slices.Contains(r.others, address)
		})
		if !isNamed && asked.err != nil {
			asked.stop()
			delete(w.asked, address)
		}
	}
}

func (w *sentinels) reports() (reports []*sentinelReport) {
	for _, asked := range w.asked {
		if asked.report != nil {
			reports = append(reports, asked.report)
		}
	}
	return reports
}

// judgeReports returns the primary that enough sentinels name now.
func judgeReports(reports []*sentinelReport, now time.Time) (*namedPrimary, error) {
	last := make(map[string]*sentinelReport) // by ID
	sentinels := 1                           // as many as any knows
	for _, r := range reports {
		if now.Sub(r.at) >= trust {
			continue
		}
		sentinels = max(sentinels, 1+len(r.others))
		if before := last[r.id]; before == nil || before.at.Before(r.at) {
			last[r.id] = r
		}
	}
	half := (sentinels + 1) / 2
	if len(last) == 0 {
		return nil, fmt.Errorf("%w: none has answered", errFewSentinels)
	}
	if len(last) < half {
		return nil, fmt.Errorf("%w: %d of %d have answered, want %d", errFewSentinels, len(last), sentinels, half)
	}
	var newest *sentinelReport
	var times []time.Time
	for _, r := range last {
		times = append(times, r.at)
		switch {
		case newest == nil || r.epoch > newest.epoch:
			newest = r
		case r.epoch == newest.epoch && r.primary != newest.primary:
			return nil, fmt.Errorf("%w: one names %s and another one %s", errFewSentinels, newest.primary, r.primary)
		}
	}
	slices.SortFunc(times, func(a, b time.Time) int { return b.Compare(a) })
	return &namedPrimary{newest.primary, times[half-1].Add(trust)}, nil
}

var errFewSentinels = errors.New("redisstore: too few sentinels name the same primary")

// primary returns the address of the primary.
func (w *sentinels) primary() (address string, err error) {
	if named := w.named.Load(); named != nil && time.Now().Before(named.until) {
		return named.address, nil
	}
	return "", errFewSentinels
}

// await waits until there is a primary, or all sentinels have been asked once without that. Then the error says why.
func (w *sentinels) await(ctx context.Context) (address string, err error) {
	for {
		if address, err := w.primary(); err == nil {
			return address, nil
		}
		why, haveAllBeenAsked := w.reason()
		switch {
		case why == nil: // since just now there is one
			continue
		case haveAllBeenAsked:
			return "", why
		}
		select {
		case <-w.news:
		case <-ctx.Done():
			return "", errors.Join(why, ctx.Err())
		}
	}
}

// reason returns why there is no primary, nil if there is, and whether all sentinels have been asked.
func (w *sentinels) reason() (why error, haveAllBeenAsked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, why = judgeReports(w.reports(), time.Now()); why == nil {
		return nil, true
	}
	haveAllBeenAsked = true
	for address, asked := range w.asked {
		if asked.err != nil {
			why = errors.Join(why, fmt.Errorf("sentinel %s: %w", address, asked.err))
		} else if asked.report == nil {
			haveAllBeenAsked = false
		}
	}
	return why, haveAllBeenAsked
}
