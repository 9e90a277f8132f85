//! Events of Nexmark (Tucker et al. 2002, as the Flink benchmark makes them): of each 50 one
//! person, three auctions and 46 bids, half of them on a hot auction; as JSON, for one topic of
//! three structs. The same seed gives the same events.

use std::fmt::Write;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const FIRST_ID: u64 = 1_000;
const CYCLE: u64 = 50;
const AUCTIONS: u64 = 3;
/// Auctions that are bid on, and people that do.
const IN_FLIGHT: u64 = 100;
const ACTIVE: u64 = 1_000;
const CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
/// Event time goes on by this much an event, µs.
const STEP_US: u64 = 100;

pub struct Generator {
    rng: SmallRng,
    number: u64,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        Generator { rng: SmallRng::seed_from_u64(seed), number: 0 }
    }

    /// Appends the next event as a line.
    pub fn next_into(&mut self, out: &mut String) {
        let n = self.number;
        self.number += 1;
        let at = time(n * STEP_US);
        let (cycle, place) = (n / CYCLE, n % CYCLE);
        let _ = match place {
            0 => self.person(cycle, &at, out),
            p if p <= AUCTIONS => self.auction(cycle * AUCTIONS + p - 1, cycle, n, &at, out),
            _ => self.bid(cycle, &at, out),
        };
        out.push('\n');
    }

    fn text(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(self.rng.random_range(b'a'..=b'z'))).collect()
    }

    fn person(&mut self, number: u64, at: &str, out: &mut String) -> std::fmt::Result {
        let id = FIRST_ID + number;
        let (city, state) = (self.rng.random_range(0..10), self.rng.random_range(0..STATES.len()));
        let card = self.rng.random_range(10u64.pow(15)..10u64.pow(16));
        let (name, extra) = (self.text(12), self.text(70));
        write!(
            out,
            r#"{{"event_type":0,"person":{{"id":{id},"name":"{name}","emailAddress":"{name}@example.org","creditCard":"{card}","city":"city{city}","state":"{}","extra":"{extra}"}},"dateTime":"{at}"}}"#,
            STATES[state]
        )
    }

    fn auction(
        &mut self,
        number: u64,
        cycle: u64,
        event: u64,
        at: &str,
        out: &mut String,
    ) -> std::fmt::Result {
        let id = FIRST_ID + number;
        let seller = match self.rng.random_ratio(3, 4) {
            true => FIRST_ID + cycle / 100 * 100,
            false => self.active(cycle),
        };
        let (price, category) = (self.price(), 10 + self.rng.random_range(0..5));
        let lasts = self.rng.random_range(1..=2 * IN_FLIGHT * CYCLE / AUCTIONS);
        let expires = time((event + lasts) * STEP_US);
        let (item, description, extra) = (self.text(20), self.text(100), self.text(200));
        write!(
            out,
            r#"{{"event_type":1,"auction":{{"id":{id},"itemName":"{item}","description":"{description}","initialBid":{price},"reserve":{},"expires":"{expires}","seller":{seller},"category":{category},"extra":"{extra}"}},"dateTime":"{at}"}}"#,
            price + self.rng.random_range(1..1_000)
        )
    }

    fn bid(&mut self, cycle: u64, at: &str, out: &mut String) -> std::fmt::Result {
        let last = (cycle + 1) * AUCTIONS - 1;
        let auction = match self.rng.random_bool(0.5) {
            true => last / 100 * 100,
            false => self.rng.random_range(last.saturating_sub(IN_FLIGHT)..=last),
        };
        let bidder = match self.rng.random_ratio(3, 4) {
            true => FIRST_ID + cycle / 100 * 100 + 1,
            false => self.active(cycle),
        };
        let (price, extra) = (self.price(), self.text(30));
        let (channel, id) = match self.rng.random_bool(0.5) {
            true => {
                let hot = self.rng.random_range(0..CHANNELS.len());
                (CHANNELS[hot].to_string(), hot as u64)
            }
            false => {
                let id = self.rng.random_range(0..10_000);
                (format!("channel-{id}"), id)
            }
        };
        let url = format!("https://www.nexmark.com/{}/{}/item.htm?query=1", self.text(5), id);
        let more =
            if self.rng.random_ratio(9, 10) { format!("&channel_id={id}") } else { "".into() };
        write!(
            out,
            r#"{{"event_type":2,"bid":{{"auction":{},"bidder":{bidder},"price":{price},"channel":"{channel}","url":"{url}{more}","extra":"{extra}"}},"dateTime":"{at}"}}"#,
            FIRST_ID + auction
        )
    }

    fn active(&mut self, newest: u64) -> u64 {
        FIRST_ID + self.rng.random_range(newest.saturating_sub(ACTIVE)..=newest)
    }

    /// In cents: as many of each size.
    fn price(&mut self) -> u64 {
        (10f64.powf(self.rng.random_range(0.0..6.0)) * 100.0).round() as u64
    }
}

/// So many µs after the first event.
fn time(us: u64) -> String {
    let (s, ms) = (us / 1_000_000, us / 1_000 % 1_000);
    let (day, h, m, s) = (1 + s / 86_400, s / 3_600 % 24, s / 60 % 60, s % 60);
    format!("2026-01-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_json_in_their_proportions_and_the_same_again() {
        let events = || {
            let (mut out, mut generator) = (String::new(), Generator::new(7));
            (0..10_000).for_each(|_| generator.next_into(&mut out));
            out
        };
        let all = events();
        assert_eq!(all, events());
        let mut kinds = [0; 3];
        for line in all.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            kinds[event["event_type"].as_u64().unwrap() as usize] += 1;
        }
        assert_eq!(kinds, [200, 600, 9_200]);
    }
}
