// Colours of series, dark enough on white and light enough on black (3:1 at least), told apart by
// people who see red and green alike; a test holds both. From the seventh series on the same
// colours come back with a dashed line, so that colour alone never carries the meaning.

export const LIGHT = ['#0b62c4', '#c2570c', '#00806a', '#a0327d', '#7d6608', '#3f4a57'];
export const DARK = ['#62aaff', '#ff9d4d', '#35c9a6', '#f48ac8', '#e3cb4a', '#b9c4cf'];

export interface Stroke {
  color: string;
  dash: number[];
}

export function strokeOf(index: number, dark: boolean): Stroke {
  const palette = dark ? DARK : LIGHT;
  return {
    color: palette[index % palette.length]!,
    dash: index < palette.length ? [] : [6, 4],
  };
}
