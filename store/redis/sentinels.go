package redisstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// maxSentinels is how many sentinels are asked at most.
const maxSentinels = 32

// sentinels asks the sentinels of a deployment again and again which server is the primary.
//
// One of them alone may be cut off from the others, together with a primary that they have replaced since. A failover needs the votes of more
// than half of those that its leader knows (Redis, "High availability with Redis Sentinel"), so a primary is believed only while half of them are heard: then
// none can have been decided without one of these, which hears of the new primary within seconds, by a configuration of a higher
// epoch. What those of the highest epoch name counts.
type sentinels struct {
	store *Store
	named atomic.Pointer[namedPrimary]
	news  chan struct{} // of another primary, or of a sentinel that has been asked for the first time; has room for one

	unreached atomic.Pointer[error] // why there is no client of the primary

	mu    sync.Mutex
	asked map[string]*askedSentinel // by address
}

// An askedSentinel is an address and what it has told last.
type askedSentinel struct {
	address string
	stop    context.CancelFunc
	report  *sentinelReport // nil before the first
	err     error           // why there is none after it; nil if there is
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
	asked := &askedSentinel{address: address, stop: stop}
	w.asked[address] = asked
	w.store.work.Go(func() {
		for ctx.Err() == nil {
			err := w.ask(ctx, asked)
			w.told(asked, nil, err)
			pause(ctx, heartbeat)
		}
	})
}

// ask asks a sentinel for as long as one connection to it lasts.
func (w *sentinels) ask(ctx context.Context, asked *askedSentinel) error {
	client, err := newClient(w.options(asked.address))
	if err != nil {
		return err
	}
	defer func() { go client.Close() }() // which waits for a server that hangs
	for {
		report, err := w.report(ctx, client)
		if err != nil {
			return err
		}
		w.told(asked, report, nil)
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

// report asks a sentinel. SENTINEL MASTER names the primary of before for as long as its replicas are being turned to the new one, in the epoch
// of that; the other command, which comes after it, does not.
func (w *sentinels) report(ctx context.Context, client rueidis.Client) (*sentinelReport, error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	name := w.store.target.master
	commands := rueidis.Commands{
		client.B().Arbitrary("SENTINEL", "MYID").Build(),
		client.B().Arbitrary("SENTINEL", "MASTER").Args(name).Build(),
		client.B().SentinelGetMasterAddrByName().Master(name).Build(),
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
	configuration, err := answers[1].AsStrMap()
	if err != nil {
		return nil, wrap(err)
	}
	primary, err := answers[2].AsStrSlice()
	if err != nil {
		return nil, wrap(err)
	}
	r.epoch, err = strconv.ParseUint(configuration["config-epoch"], 10, 64)
	if err != nil || len(primary) != 2 || primary[0] == "" || primary[1] == "" {
		return nil, errNoSentinel
	}
	r.primary = net.JoinHostPort(primary[0], primary[1])
	others, err := answers[3].ToArray()
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

var errNoSentinel = errors.New("redisstore: what a sentinel is asked was answered by something else")

// told takes what came of asking: a report, or an error.
func (w *sentinels) told(asked *askedSentinel, report *sentinelReport, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked[asked.address] != asked {
		return // it was forgotten
	}
	isFirst := asked.report == nil && asked.err == nil
	if asked.err = err; report != nil {
		asked.report = report
		for _, other := range report.others {
			w.begin(other)
		}
	}
	before := w.named.Load()
	named, _ := w.judge()
	if named != nil {
		w.forget()
	}
	if isFirst || named != nil && (before == nil || before.address != named.address) {
		select {
		case w.news <- struct{}{}:
		default:
		}
	}
}

// judge finds the primary by what was told so far.
func (w *sentinels) judge() (*namedPrimary, error) {
	named, err := judgeReports(w.reports(), time.Now())
	w.named.Store(named)
	return named, err
}

// forget ends to ask addresses that neither the URL nor any sentinel names now. It is called while enough of them are heard.
func (w *sentinels) forget() {
	now, reports := time.Now(), w.reports()
	for address, asked := range w.asked {
		isNamed := slices.ContainsFunc(reports, func(r *sentinelReport) bool {
			return r.isFresh(now) && slices.Contains(r.others, address)
		})
		if !isNamed && asked.err != nil && !slices.Contains(w.store.target.hosts, address) {
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

// A sentinelsError says why too few sentinels have named a primary, and what came of asking the others.
type sentinelsError struct{ errs []error }

func (e *sentinelsError) Error() string   { return errors.Join(e.errs...).Error() }
func (e *sentinelsError) Unwrap() []error { return e.errs }

// isTemporary reports whether it may pass: not if all sentinels have failed in a way that does not.
func (e *sentinelsError) isTemporary() bool {
	return len(e.errs) == 1 || slices.ContainsFunc(e.errs[1:], IsTemporary)
}

// primary returns the address of the primary.
func (w *sentinels) primary() (address string, err error) {
	if named := w.named.Load(); named != nil && time.Now().Before(named.until) {
		return named.address, nil
	}
	return "", errFewSentinels
}

// check returns an error if the sentinels do not name a server as the primary. It tells the causes, and is none of them: that somebody was
// asked in vain is no timeout of the call that wanted to know.
func (w *sentinels) check(address string) error {
	primary, err := w.primary()
	switch {
	case err != nil:
		if why, _ := w.why(); why != nil {
			return fmt.Errorf("%w%s", errFewSentinels, strings.TrimPrefix(why.Error(), errFewSentinels.Error()))
		}
		return err
	case primary == address:
		return nil
	}
	if unreached := w.unreached.Load(); unreached != nil {
		return fmt.Errorf("%w: %s: %s", errReplaced, primary, (*unreached).Error())
	}
	return errReplaced
}

// await waits until there is a primary, or all sentinels have been asked once without that. Then the error says why.
func (w *sentinels) await(ctx context.Context) (address string, err error) {
	for {
		if address, err := w.primary(); err == nil {
			return address, nil
		}
		why, haveAllBeenAsked := w.why()
		switch {
		case why == nil: // since just now there is one
			continue
		case haveAllBeenAsked:
			return "", why
		}
		select {
		case <-w.news:
		case <-ctx.Done():
			why.errs = append(why.errs, ctx.Err())
			return "", why
		}
	}
}

// why returns why there is no primary, nil if there is, and whether all sentinels have been asked.
func (w *sentinels) why() (why *sentinelsError, haveAllBeenAsked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.judge()
	if err == nil {
		return nil, true
	}
	why, haveAllBeenAsked = &sentinelsError{[]error{err}}, true
	for _, address := range slices.Sorted(maps.Keys(w.asked)) {
		if asked := w.asked[address]; asked.err != nil {
			why.errs = append(why.errs, fmt.Errorf("sentinel %s: %w", address, asked.err))
		} else if asked.report == nil {
			haveAllBeenAsked = false
		}
	}
	return why, haveAllBeenAsked
}
