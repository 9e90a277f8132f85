// Colours of series, dark enough on white and light enough on black (3:1 at least), told apart by
// people who see red and green alike; a test holds both. From the seventh series on the same
// colours come back with a dashed line, so that colour alone never carries the meaning.

export const LIGHT = ['#2063e8', '#d0711d', '#159f72', '#c72ea0', '#553e0c', '#34383e'];
export const DARK = ['#4a86ca', '#e16d39', '#2ee2ab', '#f1afe3', '#e7dd68', '#808a93'];

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
