// Consumer groups: cooperative rebalance, static members, commits, the new protocol (KIP-848).
package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// member polls in the background and notes what it owns, lost and read.
type member struct {
	sync.Mutex
	client  *kgo.Client
	owned   map[int32]bool
	revoked []int32
	seen    []string
	stop    context.CancelFunc
	done    chan struct{}
}

func join(group, name string, opts ...kgo.Opt) *member {
	m := &member{owned: map[int32]bool{}, done: make(chan struct{})}
	note := func(mine bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			m.Lock()
			defer m.Unlock()
			for _, p := range parts[name] {
				delete(m.owned, p)
				if mine {
					m.owned[p] = true
				} else {
					m.revoked = append(m.revoked, p)
				}
			}
		}
	}
	m.client = client(append([]kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(name),
		kgo.OnPartitionsAssigned(note(true)), kgo.OnPartitionsRevoked(note(false)),
		kgo.OnPartitionsLost(note(false)), kgo.HeartbeatInterval(300 * time.Millisecond)}, opts...)...)
	polling, stop := context.WithCancel(ctx)
	m.stop = stop
	go func() {
		defer close(m.done)
		for polling.Err() == nil {
			fetches := m.client.PollFetches(polling)
			m.Lock()
			m.seen = append(m.seen, values(fetches.Records())...)
			m.Unlock()
		}
	}()
	return m
}

func (m *member) leave() {
	m.stop()
	<-m.done
	m.client.Close()
}

func (m *member) count() int {
	m.Lock()
	defer m.Unlock()
	return len(m.owned)
}

func (m *member) read() []string {
	m.Lock()
	defer m.Unlock()
	return append([]string(nil), m.seen...)
}

func until(what string, probe func() bool) {
	for end := time.Now().Add(30 * time.Second); !probe(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			panic("never: " + what)
		}
	}
}

func twoMembers(opts ...kgo.Opt) {
	name, group := topic("topic", 4), unique("group")
	one := join(group, name, opts...)
	until("the first member owns all", func() bool { return one.count() == 4 })
	two := join(group, name, opts...)
	until("both own two", func() bool { return one.count() == 2 && two.count() == 2 })
	equal(len(one.revoked), 2, fmt.Sprintf("only what moves is given back: %v", one.revoked))
	c := client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer c.Close()
	var want []string
	for p := int32(0); p < 4; p++ {
		records := numbered(name, p, fmt.Sprintf("%d-", p), 50)
		produce(c, records...)
		want = append(want, values(records)...)
	}
	until("all is read", func() bool { return len(one.read())+len(two.read()) >= 200 })
	equal(sorted(append(one.read(), two.read()...)), sorted(want), "each record once")
	equal(len(one.read()), 100, "the half of one member")
	check(two.client.CommitUncommittedOffsets(ctx))
	two.leave()
	until("the first member owns all again", func() bool { return one.count() == 4 })
	equal(len(one.read()), 100, "nothing is read twice")
	one.leave()
}

func groupCooperative() { twoMembers(kgo.Balancers(kgo.CooperativeStickyBalancer())) }

func groupStatic() {
	name, group := topic("topic", 4), unique("group")
	timeout := kgo.SessionTimeout(15 * time.Second)
	one := join(group, name, kgo.InstanceID("one"), timeout)
	until("the first member owns all", func() bool { return one.count() == 4 })
	two := join(group, name, kgo.InstanceID("two"), timeout)
	until("both own two", func() bool { return one.count() == 2 && two.count() == 2 })
	until("stable", func() bool {
		found, err := admin().DescribeGroups(ctx, group)
		check(err)
		return found[group].State == "Stable"
	})
	before := len(one.revoked)
	two.leave()
	two = join(group, name, kgo.InstanceID("two"), timeout)
	until("the second one is back", func() bool { return two.count() == 2 })
	equal(len(one.revoked), before, "a static member that returns in time moves nothing")
	one.leave()
	two.leave()
}

func groupCommits() {
	name, group := topic("topic", 1), unique("group")
	c := client()
	defer c.Close()
	records := numbered(name, 0, "", 10)
	produce(c, records...)
	options := []kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(name), kgo.DisableAutoCommit()}
	reader := client(options...)
	check(reader.CommitRecords(ctx, take(reader, 4)...))
	take(reader, 3)
	reader.Close()
	reader = client(options...)
	equal(values(take(reader, 6)), values(records[4:]), "after the commit")
	reader.Close()
}

// newProtocol: the broker assigns; the group is described as one of the new kind.
func newProtocol() {
	name, group := topic("topic", 4), unique("group")
	options := []kgo.Opt{kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())}
	one := join(group, name, options...)
	until("the first member owns all", func() bool { return one.count() == 4 })
	two := join(group, name, options...)
	until("both own two", func() bool { return one.count() == 2 && two.count() == 2 })
	described, err := admin().DescribeConsumerGroups(ctx, group)
	check(err)
	found := described[group]
	check(found.Err)
	equal(len(found.Members), 2, "members")
	equal(found.State, "Stable", "state")
	equal(found.AssignorName, "uniform", "assignor")
	produce(one.client, numbered(name, 0, "", 10)...)
	until("all is read", func() bool { return len(one.read())+len(two.read()) == 10 })
	two.leave()
	until("the first member owns all again", func() bool { return one.count() == 4 })
	one.leave()
}
