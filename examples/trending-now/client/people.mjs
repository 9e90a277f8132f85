// Made-up people in front of made-up titles: who is shown what, and who takes it. Everything comes
// from one seed, so the same seed gives the same evening again; only the clock times differ.

const TITLES = [
  'Salt Road', 'Paper Moons', 'The Ninth Tide', 'Kitchen of Winds', 'Low Orbit', 'Glass Orchard',
  'Night Ferry', 'The Cartographer', 'Copper Rain', 'Small Gods of Ghent', 'Harbour 21', 'Echo Valley',
  'The Long Semester', 'Bread and Thunder', 'Polar Season', 'Second Violin', 'The Quiet Coast',
  'Marble and Smoke', 'Off the Map', 'Seven Bridges', 'The Lighthouse Cook', 'Static', 'Wild Allotment',
  'Court of Foxes', 'Tin Summer', 'The Understudy', 'Deep Field', 'Letters to Nobody', 'Monsoon Line',
  'A Very Short War', 'The Clockmaker', 'Snow on Sand', 'Borrowed Time', 'Velvet Static', 'The Ice Club',
  'Grand Station', 'Pigeon Post', 'The Other Lake', 'Midnight Syllabus', 'Last Tram Home',
];
const SHELVES = ['Trending Now', 'New Releases', 'Because You Watched', 'My List', 'Top 10'];
const DEVICES = ['tv', 'tv', 'tv', 'phone', 'tablet', 'laptop'];

/** Numbers in 0..1 from a seed (mulberry32). */
export function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Each title: how well known it is, how many who see it take it, and when its fashion peaks. */
function makeTitles(rand) {
  return TITLES.map((title, i) => ({
    title,
    known: 1 / (i + 3),                       // a few are everywhere, most are rarely shown
    taste: 0.04 + 0.3 * rand() ** 2,
    period: 120 + 480 * rand(),               // seconds from one fashion to the next
    phase: rand(),
    height: 1 + 14 * rand() ** 3,             // how much a fashion adds
  }));
}

/** How strongly a title is in fashion at a time, from 1 to its height. */
function fashion(t, seconds) {
  const turn = (seconds / t.period + t.phase) % 1;
  return 1 + (t.height - 1) * Math.exp(-(((turn - 0.5) / 0.12) ** 2));
}

function pick(weights, rand) {
  let left = rand() * weights.reduce((a, b) => a + b, 0);
  return Math.max(0, weights.findIndex((w) => (left -= w) < 0));
}

/** Endless events in the order of their making: {topic, seconds since the start, event}. */
export function* people(seed, perSecond) {
  const rand = random(seed);
  const titles = makeTitles(rand);
  const waiting = [];                         // plays that follow an impression a little later
  let weights = [];
  let weighedAt = -1;
  for (let n = 0; ; n++) {
    const seconds = n / perSecond;
    if (seconds - weighedAt >= 1 || n === 0) {
      weights = titles.map((t) => t.known * fashion(t, seconds));
      weighedAt = seconds;
    }
    while (waiting.length > 0 && waiting[0].seconds <= seconds) yield waiting.shift();
    const t = titles[pick(weights, rand)];
    const profile = 1 + Math.floor(rand() * 20_000);
    const shelf = SHELVES[Math.floor(rand() * SHELVES.length)];
    // Phones on trains send late and out of order: some events are up to three seconds old.
    const delay = rand() < 0.1 ? 3 * rand() : 0;
    yield { topic: 'impressions', seconds, delay, event: { title: t.title, profile, shelf } };
    if (rand() < Math.min(0.9, t.taste * Math.sqrt(fashion(t, seconds)))) {
      const device = DEVICES[Math.floor(rand() * DEVICES.length)];
      const play = { title: t.title, profile, device };
      const at = seconds + 0.5 + 4 * rand();
      const where = waiting.findIndex((w) => w.seconds > at);
      const item = { topic: 'plays', seconds: at, delay: 0, event: play };
      waiting.splice(where < 0 ? waiting.length : where, 0, item);
    }
  }
}
