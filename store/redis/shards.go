package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/reprise-tls/reprise"
)

// A shard is a primary and the connection by which it tells what happens there.
type shard struct {
	address string
	life    atomic.Uint64
	clock   atomic.Pointer[clock]          // nil while it is not known
	tracks  atomic.Pointer[rueidis.Client] // nil while notices are lost
	node    atomic.Pointer[rueidis.Client] // of a cluster: the client's connection to this server alone; nil before it has one
	waking  atomic.Bool
	end     context.CancelFunc
}

// numSlots is how many hash slots a cluster has.
const numSlots = 16384

// A slotRange is some of the slots of a shard.
type slotRange struct{ first, last int64 }

// everySlot is what the one primary has that is no part of a cluster.
var everySlot = []slotRange{{0, numSlots - 1}}

func contains(ranges []slotRange, slot uint16) bool {
	return slices.ContainsFunc(ranges, func(r slotRange) bool { return r.first <= int64(slot) && int64(slot) <= r.last })
}

// slotOfKey returns the slot of a record; 0 if the servers are no cluster.
func (s *Store) slotOfKey(key reprise.StoreKey) uint16 {
	if s.target.deployment != cluster {
		return 0
	}
	var room [128]byte
	return slotOf(s.appendName(room[:0], key))
}

// shardOf returns the shard of a key, nil if none is known.
func (s *Store) shardOf(key reprise.StoreKey) *shard { return s.slots.Load().shard(s.slotOfKey(key)) }

// A slotTable tells which shard has a slot. It is immutable. There is one pointer a shard, not one a slot, for the garbage collector to
// follow. In the zero value no shard is known.
type slotTable struct {
	shards []*shard
	places [numSlots]uint16 // in shards, from 1 on; 0: none
}

func (t *slotTable) shard(slot uint16) *shard {
	if place := t.places[slot]; place > 0 {
		return t.shards[place-1]
	}
	return nil
}

// keyWhere returns a key that no record has, and that lies in one of some slots. If there is none soon, as with a prefix that has
// braces, it lies anywhere.
func (s *Store) keyWhere(wanted func(slot uint16) bool) reprise.StoreKey {
	for range 4 * numSlots {
		if key := randomKey(); wanted(s.slotOfKey(key)) {
			return key
		}
	}
	return randomKey()
}

// Partition implements [reprise.Partitioned] with the address of the primary that has the key. Servers that are no cluster are one
// partition.
func (s *Store) Partition(key reprise.StoreKey) string {
	if s.target.deployment != cluster {
		return ""
	}
	if sh := s.shardOf(key); sh != nil {
		return sh.address
	}
	return ""
}

// Incarnation implements [reprise.Incarnated]: the replication ID of the primary that has the key. Redis makes another one when
// a primary starts, and when a replica becomes one.
func (s *Store) Incarnation(key reprise.StoreKey) uint64 {
	if sh := s.shardOf(key); sh != nil {
		if life := sh.life.Load(); life != 0 {
			return life
		}
	}
	return s.noLife
}

// A clock is what the clock of a server has shown, and when that was here.
type clock struct{ shown, here time.Time }

// Clock implements [reprise.Clocked] with what the primary that has the key has told last, within half a second.
func (s *Store) Clock(key reprise.StoreKey) (now time.Time, ok bool) {
	sh := s.shardOf(key)
	if sh == nil {
		return now, false
	}
	c := sh.clock.Load()
	if c == nil {
		return now, false
	}
	return c.shown.Add(time.Since(c.here)), true
}

// takeScript takes a record and tells the replication ID, in one atomic step.
var takeScript = rueidis.NewLuaScript(`
local record = redis.call('GETDEL', KEYS[1])
if not record then return false end
return {record, string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''}`)

// TakeIncarnated implements [reprise.Incarnated] with a script of GETDEL and INFO.
func (s *Store) TakeIncarnated(ctx context.Context, key reprise.StoreKey) (record []byte, incarnation uint64, ok bool, err error) {
	answer, err := s.call(ctx, s.shardOf(key), func(client rueidis.Client) rueidis.RedisResult {
		return takeScript.Exec(ctx, client, []string{s.name(key)}, nil)
	})
	if rueidis.IsRedisNil(err) {
		return nil, 0, false, nil
	}
	if err != nil {
		s.wakeAfter(err, key)
		return nil, 0, false, err
	}
	parts, err := answer.AsStrSlice()
	switch {
	case err != nil:
		return nil, 0, false, wrap(err)
	case len(parts) != 2:
		return nil, 0, false, fmt.Errorf("redisstore: a take was answered by %d parts, want 2", len(parts))
	}
	incarnation, err = parseLife(parts[1])
	return []byte(parts[0]), incarnation, err == nil, err
}

// parseLife makes a number of a replication ID, which has 40 random hex digits.
func parseLife(id string) (uint64, error) {
	if len(id) < 16 {
		return 0, errors.New("redisstore: the server has no replication ID; it must be Redis or Valkey itself, not a proxy")
	}
	life, err := strconv.ParseUint(id[:16], 16, 64)
	if err != nil {
		return 0, errors.New("redisstore: the server has a replication ID that is none")
	}
	return max(life, 1), nil
}

// A pulse is what a primary tells of itself, again and again.
type pulse struct {
	life  uint64
	clock *clock // nil if it does not tell its time
}

// pulseOf asks a primary for its pulse. Of a replica it returns an error, and of a primary that is cut off from its cluster: a replica may
// have taken its place, and removals be told there.
func (s *Store) pulseOf(ctx context.Context, client rueidis.Client) (p pulse, err error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	commands := rueidis.Commands{client.B().Info().Section("replication").Build(), client.B().Info().Section("server").Build()}
	if s.target.deployment == cluster {
		commands = append(commands, client.B().ClusterInfo().Build())
	}
	asked := time.Now()
	answers, err := await(ctx, func() []rueidis.RedisResult { return client.DoMulti(ctx, commands...) })
	if err != nil {
		return p, err
	}
	here := asked.Add(time.Since(asked) / 2)
	fields := make(map[string]string)
	for _, answer := range answers {
		if err := readInfo(fields, answer); err != nil {
			return p, err
		}
	}
	if fields["role"] != "master" {
		return p, errReplica
	}
	if s.target.deployment == cluster && !servesCluster(fields) {
		return p, errNotServing
	}
	if shown, err := strconv.ParseInt(fields["server_time_usec"], 10, 64); err == nil {
		p.clock = &clock{shown: time.UnixMicro(shown), here: here}
	}
	p.life, err = parseLife(fields["master_replid"])
	return p, err
}

// readInfo adds the fields of an answer to INFO or CLUSTER INFO.
func readInfo(fields map[string]string, answer rueidis.RedisResult) error {
	info, err := answer.ToString()
	if err != nil {
		return wrap(err)
	}
	for line := range strings.Lines(strings.TrimPrefix(info, "txt:")) { // of a verbatim string, RESP3's for text
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		fields[name] = value
	}
	return nil
}

// servesCluster tells, by the fields of CLUSTER INFO, whether a node reaches most of its cluster and serves requests.
func servesCluster(fields map[string]string) bool { return fields["cluster_state"] == "ok" }

var (
	errReplica    = errors.New("redisstore: the server is a replica")
	errNotServing = errors.New("redisstore: the server's cluster is down, or does not reach it")
)

// primaries asks which servers have which slots.
func (s *Store) primaries(ctx context.Context) (map[string][]slotRange, error) {
	client, err := s.connected()
	if err != nil {
		return nil, err
	}
	if s.target.deployment == cluster {
		return clusterPrimaries(ctx, client)
	}
	return map[string][]slotRange{s.client.Load().address: everySlot}, nil
}

// turn makes another client if the sentinels name another primary.
func (s *Store) turn() error {
	if s.sentinels == nil {
		return nil
	}
	before := s.client.Load()
	primary, err := s.sentinels.primary()
	if err != nil || primary == before.address {
		return err
	}
	client, err := newClient(s.optionsOf(primary))
	if err != nil {
		s.sentinels.unreached.Store(&err)
		return err
	}
	s.sentinels.unreached.Store(nil)
	s.client.Store(&connection{primary, client})
	go before.client.Close() // which waits for a server that hangs
	return nil
}

// clusterPrimaries asks the nodes of a cluster until one answers: another one whenever the former ones have not for a while, which they may
// be dead, or far away, for.
func clusterPrimaries(ctx context.Context, client rueidis.Client) (primaries map[string][]slotRange, err error) {
	type outcome struct {
		primaries map[string][]slotRange
		err       error
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout) // a node that was not asked before is connected
	defer cancel()
	nodes := client.Nodes()
	outcomes := make(chan outcome, len(nodes))
	waiting := 0
	for address, node := range nodes {
		go func() {
			primaries, err := primariesSeenBy(ctx, address, node)
			outcomes <- outcome{primaries, err}
		}()
		select {
		case o := <-outcomes:
			if err = o.err; err == nil {
				return o.primaries, nil
			}
		case <-time.After(refreshInterval / 4):
			waiting++
		}
	}
	for range waiting {
		o := <-outcomes
		if err = o.err; err == nil {
			return o.primaries, nil
		}
	}
	return nil, err
}

// primariesSeenBy returns an error of a node that does not reach its cluster, which may see what was.
func primariesSeenBy(ctx context.Context, address string, node rueidis.Client) (map[string][]slotRange, error) {
	answers, err := await(ctx, func() []rueidis.RedisResult {
		return node.DoMulti(ctx, node.B().ClusterInfo().Build(), node.B().ClusterSlots().Build())
	})
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string)
	if err := readInfo(fields, answers[0]); err != nil {
		return nil, err
	}
	if !servesCluster(fields) {
		return nil, errNotServing
	}
	ranges, err := answers[1].ToArray()
	if err != nil {
		return nil, wrap(err)
	}
	primaries := make(map[string][]slotRange)
	for i := range ranges {
		primary, slots, err := parseSlots(&ranges[i], address)
		if err != nil {
			return nil, err
		}
		primaries[primary] = append(primaries[primary], slots)
	}
	return primaries, nil
}

// parseSlots reads a part of the answer to CLUSTER SLOTS: the first and the last slot, and the nodes, the primary first. A
// node that does not know its own address leaves it out.
func parseSlots(part *rueidis.RedisMessage, from string) (primary string, slots slotRange, err error) {
	bad := errors.New("redisstore: CLUSTER SLOTS was answered by something else")
	fields, err := part.ToArray()
	if err != nil || len(fields) < 3 {
		return "", slots, bad
	}
	node, err := fields[2].ToArray()
	if err != nil || len(node) < 2 {
		return "", slots, bad
	}
	host, _ := node[0].ToString()
	port, portErr := node[1].AsInt64()
	first, firstErr := fields[0].AsInt64()
	last, lastErr := fields[1].AsInt64()
	if errors.Join(portErr, firstErr, lastErr) != nil || first < 0 || last >= numSlots {
		return "", slots, bad
	}
	if host == "" || host == "?" {
		host, _, _ = net.SplitHostPort(from)
	}
	return net.JoinHostPort(host, strconv.FormatInt(port, 10)), slotRange{first, last}, nil
}

// watch keeps in touch with all primaries, until the store is closed.
func (s *Store) watch() {
	ticks := time.NewTicker(refreshInterval / 2)
	defer ticks.Stop()
	var news <-chan struct{}
	if s.sentinels != nil {
		news = s.sentinels.news
	}
	for s.ctx.Err() == nil {
		s.refresh()
		select {
		case <-s.ctx.Done():
			return
		case <-ticks.C:
		case <-news:
		}
	}
}

// refresh looks which primaries there are, and follows each. If that can't be told it stays with those there were.
func (s *Store) refresh() {
	if s.client.Load() == nil && s.connect() != nil {
		return
	}
	err := s.turn()
	var primaries map[string][]slotRange
	if err == nil {
		primaries, err = s.primaries(s.ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.judge()
	if err != nil {
		return
	}
	defer s.renewNodes()
	if maps.EqualFunc(primaries, s.known, slices.Equal) {
		return
	}
	s.known = primaries
	slots := new(slotTable)
	for address, ranges := range primaries {
		sh := s.shards[address]
		if sh == nil {
			sh = s.begin(address)
		}
		slots.shards = append(slots.shards, sh)
		for _, r := range ranges {
			for slot := r.first; slot <= r.last; slot++ {
				slots.places[slot] = uint16(len(slots.shards))
			}
		}
	}
	s.slots.Store(slots)
	for address, sh := range s.shards {
		if _, ok := primaries[address]; !ok {
			sh.end()
			delete(s.shards, address)
		}
	}
}

// renewNodes gives each shard the connection that the client has to it now.
func (s *Store) renewNodes() {
	client, err := s.connected()
	if err != nil || s.target.deployment != cluster {
		return
	}
	nodes := client.Nodes()
	for address, sh := range s.shards {
		if node, ok := nodes[address]; ok {
			sh.node.Store(&node)
		}
	}
}

// clientOf returns the client for calls about what a shard has, which may be nil. In a cluster it is one of the shard's server alone: the client for
// everything believes whichever node it has asked last about who has a slot, also one that is cut off from the others and does not know what is
// removed.
func (s *Store) clientOf(sh *shard) (rueidis.Client, error) {
	if sh != nil {
		if client := sh.node.Load(); client != nil {
			return *client, nil
		}
	}
	return s.connected()
}

// forgetNode is told how a call by the connection to a server has ended: the client may have given that up.
func (sh *shard) forgetNode(err error) {
	if sh != nil && errors.Is(err, rueidis.ErrClosing) {
		sh.node.Store(nil)
	}
}

// begin begins to follow a primary.
func (s *Store) begin(address string) *shard {
	ctx, cancel := context.WithCancel(s.ctx)
	sh := &shard{address: address, end: cancel}
	s.shards[address] = sh
	s.work.Go(func() { s.follow(ctx, sh) })
	return sh
}

// judge tells whether all removals are told: all slots have a primary, and each of them is followed.
func (s *Store) judge() {
	slots := s.slots.Load()
	follows := len(s.shards) > 0
	for _, sh := range s.shards {
		follows = follows && sh.tracks.Load() != nil && s.checkNamed(sh.address) == nil
	}
	for _, place := range slots.places {
		follows = follows && place != 0
	}
	s.notices.setFollowing(follows)
}

// slotOf returns the hash slot of a key: CRC-16 of it, or of what is in its first braces.
func slotOf(name []byte) uint16 {
	if _, after, ok := bytes.Cut(name, []byte("{")); ok {
		if tag, _, ok := bytes.Cut(after, []byte("}")); ok && len(tag) > 0 {
			name = tag
		}
	}
	var crc uint16
	for _, b := range name {
		crc = crc<<8 ^ crc16[byte(crc>>8)^b]
	}
	return crc % numSlots
}

// crc16 is the table of CRC-16/XMODEM.
var crc16 = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			carry := crc >> 15
			crc = crc<<1 ^ carry*0x1021
		}
		table[i] = crc
	}
	return table
}()
