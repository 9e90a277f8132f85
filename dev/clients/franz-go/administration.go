// kadm, franz-go's admin client: topics, configs, groups, offsets, records, producers.
package main

import (
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func topics() {
	adm, name := admin(), topic("topic", 2)
	_, err := adm.CreateTopic(ctx, 1, 1, nil, name)
	fails(err, kerr.TopicAlreadyExists)
	found, err := adm.ListTopics(ctx, name)
	check(err)
	equal(len(found[name].Partitions), 2, "partitions")
	equal(found[name].ID == kadm.TopicID{}, false, "no topic id")
	byID, err := adm.ListTopics(ctx, found[name].ID.String())
	check(err)
	equal(byID.Has(name), false, "an id is no name")
	grown, err := adm.UpdatePartitions(ctx, 5, name)
	check(err)
	check(grown.Error())
	found, err = adm.ListTopics(ctx, name)
	check(err)
	equal(len(found[name].Partitions), 5, "partitions")
	shrunk, err := adm.UpdatePartitions(ctx, 2, name)
	check(err)
	equal(shrunk.Error() != nil, true, "fewer partitions are refused")
	_, err = adm.DeleteTopic(ctx, name)
	check(err)
	_, err = adm.DeleteTopic(ctx, name)
	fails(err, kerr.UnknownTopicOrPartition)
	broker, err := adm.BrokerMetadata(ctx)
	check(err)
	equal(broker.Cluster != "", true, "a cluster id")
	equal(broker.Brokers.NodeIDs()[0], broker.Controller, "controller")
}

func configs() {
	adm, name := admin(), topic("topic", 1)
	value := func(key string) string {
		found, err := adm.DescribeTopicConfigs(ctx, name)
		check(err)
		resource, err := found.On(name, nil)
		check(err)
		check(resource.Err)
		for _, c := range resource.Configs {
			if c.Key == key {
				return c.MaybeValue()
			}
		}
		return "missing"
	}
	alter := func(op kadm.IncrementalOp, key, value string) error {
		done, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: op, Name: key, Value: &value}}, name)
		check(err)
		return done[0].Err
	}
	check(alter(kadm.SetConfig, "retention.ms", "123456"))
	until("set", func() bool { return value("retention.ms") == "123456" })
	check(alter(kadm.DeleteConfig, "retention.ms", ""))
	until("deleted", func() bool { return value("retention.ms") == "604800000" })
	fails(alter(kadm.SetConfig, "no.such.key", "1"), kerr.InvalidConfig)
}

func groups() {
	adm, name, group := admin(), topic("topic", 2), unique("group")
	c := client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer c.Close()
	produce(c, numbered(name, 0, "", 10)...)
	var commit kadm.Offsets
	commit.AddOffset(name, 0, 4, -1)
	commit.AddOffset(name, 1, 0, -1)
	check(adm.CommitAllOffsets(ctx, group, commit))
	back, err := adm.FetchOffsets(ctx, group)
	check(err)
	first, _ := back.Lookup(name, 0)
	equal(first.At, int64(4), "committed")
	lag, err := adm.Lag(ctx, group)
	check(err)
	equal(lag[group].Lag.Total(), int64(6), "lag")
	equal(lag[group].State, "Empty", "state")
	member := join(group, name)
	until("owns all", func() bool { return member.count() == 2 })
	until("reads from the commit", func() bool { return len(member.read()) == 6 })
	described, err := adm.DescribeGroups(ctx, group)
	check(err)
	equal(described[group].State, "Stable", "state")
	equal(described[group].ProtocolType, "consumer", "protocol type")
	found := described[group]
	equal(found.AssignedPartitions().Lookup(name, 1), true, "assignment")
	_, err = adm.DeleteGroup(ctx, group)
	fails(err, kerr.NonEmptyGroup)
	member.leave()
	listed, err := adm.ListGroups(ctx, "Empty")
	check(err)
	equal(listed[group].State, "Empty", "state")
	topicsSet := kadm.TopicsSet{}
	topicsSet.Add(name, 1)
	deleted, err := adm.DeleteOffsets(ctx, group, topicsSet)
	check(err)
	check(deleted.Error())
	back, err = adm.FetchOffsets(ctx, group)
	check(err)
	_, there := back.Lookup(name, 1)
	equal(there, false, "deleted offsets")
	_, err = adm.DeleteGroup(ctx, group)
	check(err)
	listed, err = adm.ListGroups(ctx)
	check(err)
	_, there = listed[group]
	equal(there, false, "deleted group")
}

func offsets() {
	adm, name := admin(), topic("topic", 1)
	c := client()
	defer c.Close()
	records := numbered(name, 0, "", 10)
	for i, r := range records {
		r.Timestamp = time.UnixMilli(hourAgo + int64(i)*1000)
	}
	produce(c, records...)
	at := func(found kadm.ListedOffsets, err error) int64 {
		check(err)
		check(found.Error())
		offset, _ := found.Lookup(name, 0)
		return offset.Offset
	}
	equal(at(adm.ListStartOffsets(ctx, name)), int64(0), "start")
	equal(at(adm.ListEndOffsets(ctx, name)), int64(10), "end")
	equal(at(adm.ListOffsetsAfterMilli(ctx, hourAgo+4001, name)), int64(5), "by time")
	equal(at(adm.ListMaxTimestampOffsets(ctx, name)), int64(9), "largest timestamp")
	var upTo kadm.Offsets
	upTo.AddOffset(name, 0, 7, -1)
	deleted, err := adm.DeleteRecords(ctx, upTo)
	check(err)
	check(deleted.Error())
	equal(at(adm.ListStartOffsets(ctx, name)), int64(7), "start after deletion")
	reader := client(kgo.ConsumeTopics(name))
	defer reader.Close()
	equal(values(take(reader, 3)), []string{"7", "8", "9"}, "what is left")
}

func producers() {
	adm, name, id := admin(), topic("topic", 1), unique("txn")
	c := client(kgo.TransactionalID(id))
	defer c.Close()
	check(c.BeginTransaction())
	produce(c, numbered(name, 0, "", 5)...)
	state := func() string {
		found, err := adm.DescribeTransactions(ctx, id)
		check(err)
		check(found[id].Err)
		return found[id].State
	}
	equal(state(), "Ongoing", "state")
	listed, err := adm.ListTransactions(ctx, nil, []string{"Ongoing"})
	check(err)
	equal(listed[id].State, "Ongoing", "listed")
	set := kadm.TopicsSet{}
	set.Add(name, 0)
	found, err := adm.DescribeProducers(ctx, set)
	check(err)
	p := found.SortedProducers()[0]
	equal(p.ProducerID, listed[id].ProducerID, "producer id")
	equal(p.LastSequence, int32(4), "last sequence")
	equal(p.CurrentTxnStartOffset, int64(0), "start of the open transaction")
	check(c.EndTransaction(ctx, kgo.TryCommit))
	until("complete", func() bool { return state() == "CompleteCommit" })
}
