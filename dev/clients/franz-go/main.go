// franz-go, the Go client: one case a call, `franz-go BOOTSTRAP RUN CASE`; a failed check panics.
// Read next: records.go (produce, consume, transactions), groups.go, administration.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	bootstrap, run, current string
	hourAgo                 = time.Now().Add(-time.Hour).UnixMilli()
	ctx, cancel             = context.WithTimeout(context.Background(), 50*time.Second)
)

var cases = map[string]func(){
	"produce_idempotent":     produceIdempotent,
	"compression":            compression,
	"headers_and_time":       headersAndTime,
	"transactions":           transactions,
	"fencing":                fencing,
	"group_transact_session": groupTransactSession,
	"group_cooperative":      groupCooperative,
	"group_static":           groupStatic,
	"group_commits":          groupCommits,
	"new_protocol":           newProtocol,
	"topics":                 topics,
	"configs":                configs,
	"groups":                 groups,
	"offsets":                offsets,
	"producers":              producers,
}

func main() {
	if len(os.Args) != 4 {
		for name := range cases {
			fmt.Println(name)
		}
		return
	}
	bootstrap, run, current = os.Args[1], os.Args[2], os.Args[3]
	cases[current]()
	cancel()
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func equal(got, want any, what string) {
	if !reflect.DeepEqual(got, want) {
		panic(fmt.Sprintf("%s\n   got: %v\n  want: %v", what, got, want))
	}
}

// fails panics unless err is of the given kind.
func fails(err error, want error) {
	if !errors.Is(err, want) {
		panic(fmt.Sprintf("error\n   got: %v\n  want: %v", err, want))
	}
}

func unique(part string) string { return fmt.Sprintf("go-%s-%s-%s", part, current, run) }

func client(opts ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap)}, opts...)...)
	check(err)
	return c
}

func admin() *kadm.Client { return kadm.NewClient(client()) }

func topic(part string, partitions int32) string {
	name := unique(part)
	_, err := admin().CreateTopic(ctx, partitions, 1, nil, name)
	check(err)
	return name
}

// numbered makes the values "prefix0" … of one partition.
func numbered(name string, partition int32, prefix string, n int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	for i := range records {
		value := fmt.Sprintf("%s%d", prefix, i)
		records[i] = &kgo.Record{Topic: name, Partition: partition, Value: []byte(value)}
	}
	return records
}

func produce(c *kgo.Client, records ...*kgo.Record) {
	check(c.ProduceSync(ctx, records...).FirstErr())
}

// take polls until n records came.
func take(c *kgo.Client, n int) []*kgo.Record {
	var got []*kgo.Record
	limit, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	for len(got) < n {
		fetches := c.PollRecords(limit, n-len(got))
		check(fetches.Err())
		got = append(got, fetches.Records()...)
	}
	return got
}

func values(records []*kgo.Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, string(r.Value))
	}
	return out
}

func sorted(words []string) []string {
	out := append([]string(nil), words...)
	sort.Strings(out)
	return out
}

// read takes everything a topic of one partition shows up to its end.
func read(name string, isolation kgo.IsolationLevel) []string {
	adm := admin()
	var end, stable kadm.ListedOffset
	// The markers may follow the answer to a commit.
	until("no transaction is open", func() bool {
		ends, err := adm.ListEndOffsets(ctx, name)
		check(err)
		stables, err := adm.ListCommittedOffsets(ctx, name)
		check(err)
		end, _ = ends.Lookup(name, 0)
		stable, _ = stables.Lookup(name, 0)
		return end.Offset == stable.Offset
	})
	c := client(kgo.FetchIsolationLevel(isolation), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {0: kgo.NewOffset().At(0)}}))
	defer c.Close()
	var got []string
	// Control records are kept, so that a topic which ends with a marker is read to its end.
	for next := int64(0); next < end.Offset; {
		fetches := c.PollFetches(ctx)
		check(fetches.Err())
		for _, r := range fetches.Records() {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				got = append(got, string(r.Value))
			}
		}
	}
	return got
}
