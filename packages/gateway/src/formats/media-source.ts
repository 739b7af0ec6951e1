import type { MediaPart, MediaSource } from './neutral.ts';

const dataUrl = /^data:([\w.+-]+\/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*(;base64)?,/;

/** A URL as OpenAI takes images in: one of the web, or the bytes themselves. Null when it is neither. */
export const sourceOfUrl = (url: string): MediaSource | null => {
  if (!url.startsWith('data:')) return /^(https?|gs):\/\//.test(url) ? { kind: 'url', url, mimeType: null } : null;
  const head = dataUrl.exec(url.slice(0, 512));
  if (head === null || head[2] === undefined) return null;
  return { kind: 'data', mimeType: head[1] ?? 'text/plain', base64: url.slice(head[0].length) };
};

export const urlOfSource = (source: Exclude<MediaSource, { kind: 'file' }>): string =>
  source.kind === 'url' ? source.url : `data:${source.mimeType};base64,${source.base64}`;

/** What a mime type is to a model; anything that is no picture, sound or film is a document. */
export const mediaOf = (mimeType: string): MediaPart['media'] => {
  const family = mimeType.slice(0, mimeType.indexOf('/'));
  return family === 'image' || family === 'audio' || family === 'video' ? family : 'document';
};

const mimeTypes: Readonly<Record<string, string>> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  heic: 'image/heic',
  pdf: 'application/pdf',
  txt: 'text/plain',
  mp3: 'audio/mpeg',
  wav: 'audio/wav',
  mp4: 'video/mp4',
};

/** The mime type that a URL's ending stands for; Gemini wants one with every URL. */
export const mimeTypeOfUrl = (url: string, media: MediaPart['media']): string => {
  const ending = /\.([a-z0-9]{2,4})(?:[?#]|$)/i.exec(url)?.[1]?.toLowerCase() ?? '';
  const fallback = media === 'image' ? 'image/jpeg' : media === 'document' ? 'application/pdf' : `${media}/*`;
  return mimeTypes[ending] ?? fallback;
};

const audioMimeTypes: Readonly<Record<string, string>> = { wav: 'audio/wav', mp3: 'audio/mpeg' };

/** OpenAI names sounds by a format of its own. */
export const audioMimeType = (format: string): string => audioMimeTypes[format] ?? `audio/${format}`;

export const audioFormat = (mimeType: string): string | null =>
  /^audio\/(x-)?wave?$/.test(mimeType) ? 'wav' : /^audio\/(mpeg|mp3)$/.test(mimeType) ? 'mp3' : null;
