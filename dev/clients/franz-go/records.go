// Producing and consuming: idempotence, every compression, headers, transactions.
package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func produceIdempotent() {
	name := topic("topic", 3)
	c := client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(2000))
	defer c.Close()
	var want []string
	for p := int32(0); p < 3; p++ {
		records := numbered(name, p, fmt.Sprintf("%d-", p), 2000)
		produce(c, records...)
		for i, r := range records {
			equal(r.Offset, int64(i), "offset acknowledged")
		}
		want = append(want, values(records)...)
	}
	reader := client(kgo.ConsumeTopics(name))
	defer reader.Close()
	got := map[int32][]string{}
	for _, r := range take(reader, 6000) {
		got[r.Partition] = append(got[r.Partition], string(r.Value))
	}
	for p := 0; p < 3; p++ {
		equal(got[int32(p)], want[p*2000:p*2000+2000], fmt.Sprintf("partition %d", p))
	}
}

func compression() {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for codec, option := range codecs {
		name := topic(codec, 1)
		c := client(kgo.ProducerBatchCompression(option), kgo.ProducerLinger(20*time.Millisecond))
		records := numbered(name, 0, fmt.Sprintf("%0300d %s ", 0, codec), 1000)
		produce(c, records...)
		c.Close()
		equal(read(name, kgo.ReadUncommitted()), values(records), codec)
	}
}

func headersAndTime() {
	name := topic("topic", 1)
	c := client()
	defer c.Close()
	stamp := time.UnixMilli(hourAgo)
	sent := &kgo.Record{Topic: name, Key: []byte{0, 255}, Timestamp: stamp,
		Headers: []kgo.RecordHeader{{Key: "color", Value: []byte("blue")}, {Key: "none", Value: nil}}}
	produce(c, sent)
	reader := client(kgo.ConsumeTopics(name))
	defer reader.Close()
	got := take(reader, 1)[0]
	equal(got.Key, []byte{0, 255}, "key")
	equal(got.Value == nil, true, "a null value")
	equal(got.Headers, sent.Headers, "headers")
	equal(got.Timestamp.UnixMilli(), stamp.UnixMilli(), "create time")
}

func transact(c *kgo.Client, end kgo.TransactionEndTry, records ...*kgo.Record) error {
	check(c.BeginTransaction())
	produce(c, records...)
	return c.EndTransaction(ctx, end)
}

func transactions() {
	name := topic("topic", 1)
	c := client(kgo.TransactionalID(unique("txn")))
	defer c.Close()
	var committed, all []string
	for i := 0; i < 10; i++ {
		records := numbered(name, 0, fmt.Sprintf("%d-", i), 20)
		all = append(all, values(records)...)
		if i%3 == 1 {
			check(transact(c, kgo.TryAbort, records...))
		} else {
			check(transact(c, kgo.TryCommit, records...))
			committed = append(committed, values(records)...)
		}
	}
	equal(read(name, kgo.ReadCommitted()), committed, "read_committed")
	equal(read(name, kgo.ReadUncommitted()), all, "read_uncommitted")
}

func fencing() {
	name, id := topic("topic", 1), unique("txn")
	old := client(kgo.TransactionalID(id))
	defer old.Close()
	check(old.BeginTransaction())
	produce(old, numbered(name, 0, "old", 1)...)
	fresh := client(kgo.TransactionalID(id))
	defer fresh.Close()
	check(transact(fresh, kgo.TryCommit, numbered(name, 0, "new", 1)...))
	err := old.ProduceSync(ctx, numbered(name, 0, "late", 1)...).FirstErr()
	if err == nil {
		err = old.EndTransaction(ctx, kgo.TryCommit)
	}
	if !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.ProducerFenced) {
		panic(fmt.Sprintf("the old instance was not fenced: %v", err))
	}
	equal(read(name, kgo.ReadCommitted()), []string{"new0"}, "read_committed")
}

// groupTransactSession copies exactly once, with some transactions aborted.
func groupTransactSession() {
	source, target := topic("source", 1), topic("target", 1)
	c := client()
	defer c.Close()
	records := numbered(source, 0, "", 300)
	produce(c, records...)
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(source),
		kgo.ConsumerGroup(unique("group")), kgo.TransactionalID(unique("txn")),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets())
	check(err)
	defer s.Close()
	for done, turn := 0, 0; done < 300; turn++ {
		fetches := s.PollRecords(ctx, 50)
		check(fetches.Err())
		check(s.Begin())
		for _, r := range fetches.Records() {
			s.Produce(ctx, &kgo.Record{Topic: target, Value: r.Value}, nil)
		}
		committed, err := s.End(ctx, kgo.TransactionEndTry(turn%3 != 1))
		check(err)
		if committed {
			done += fetches.NumRecords()
		}
	}
	equal(read(target, kgo.ReadCommitted()), values(records), "copied")
}
