/** Limits shared by more than one package. Each thing that can grow has one; those of a single package live there. */

/** Longest JSON body unless a route says otherwise. */
export const defaultBodyBytes = 1_048_576;

/** Longest path with its query that the server reads. */
export const maxUrlBytes = 16_384;

/** All header lines of a request together. */
export const maxHeaderBytes = 32_768;

/** One WebSocket message. */
export const maxMessageBytes = 1_048_576;

/** Bytes that may wait in a WebSocket before its source is paused. */
export const maxBufferedBytes = 4_194_304;

/** WebSockets and streams that one key may hold open. */
export const maxStreamsPerKey = 256;

/** Items on one page of a list. */
export const maxPageSize = 1_000;
