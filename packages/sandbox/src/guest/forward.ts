import { checkPath, request } from './command.ts';
import type { Acceptor, GuestConnection } from './connection.ts';
import { GuestSocket, requireOutbound } from './socket.ts';
import { type GuestStream, shapes } from './stream.ts';
import { Channel, Op, Tag } from './tags.ts';
import type { FieldsBuilder } from './tlv.ts';
import { ProtocolViolation } from './violation.ts';

/** A TCP port on the guest's loopback (0 or neither: any free one), or a unix socket at `path`. */
export interface GuestListenOptions {
  readonly port?: number;
  readonly path?: string;
  /** Permission bits of the unix socket. */
  readonly mode?: number;
}

export interface GuestListener {
  /** Null for a unix socket. */
  readonly port: number | null;
  /** Accepts no more; connections live on. */
  close(): void;
  /** Resolves once it accepts no more, for whatever reason. */
  readonly closed: Promise<void>;
}

/** Connects to a port in the guest. Rejects with `guest.connection_refused` when nothing listens. */
export async function connectSocket(connection: GuestConnection, port: number, host?: string): Promise<GuestSocket> {
  const opened = Promise.withResolvers<GuestSocket>();
  let connected = false;
  const stream = connection.open(request(Op.connect).text(Tag.host, host).number(Tag.port, port), shapes.socket, {
    event() {
      if (connected) throw new ProtocolViolation('a socket connected twice');
      connected = true;
      opened.resolve(socketOf(stream, () => closeSocket(stream)));
    },
    result() {
      if (!connected) throw new ProtocolViolation('a socket ended before it connected');
    },
    failed: opened.reject,
  });
  return opened.promise;
}

/** Listens in the guest. `onConnection` gets each connection; what it throws closes that connection. */
export async function listenSocket(
  connection: GuestConnection,
  options: GuestListenOptions,
  onConnection: (socket: GuestSocket) => void,
): Promise<GuestListener> {
  const opened = Promise.withResolvers<GuestListener>();
  const closed = Promise.withResolvers<void>();
  let listener: number | null = null;
  const stop = (): void => {
    if (listener !== null) connection.removeAcceptor(listener);
    closed.resolve();
  };
  const stream = connection.open(listenRequest(options), shapes.request, {
    event(event) {
      if (listener !== null) throw new ProtocolViolation('a listener started twice');
      const id = event.requireNumber(Tag.listener);
      connection.addAcceptor(id, acceptorOf(connection, onConnection));
      listener = id;
      const port = options.path === undefined ? event.requireNumber(Tag.port, 65_535) : null;
      const close = (): void => {
        stop();
        stream.cancel();
      };
      opened.resolve({ port, close, closed: closed.promise });
    },
    result() {
      if (listener === null) throw new ProtocolViolation('a listener ended before it started');
      stop();
    },
    failed(error) {
      opened.reject(error);
      stop();
    },
  });
  return opened.promise;
}

function listenRequest(options: GuestListenOptions): FieldsBuilder {
  const fields = request(Op.listen);
  if (options.path === undefined) return fields.number(Tag.port, options.port ?? 0);
  return fields.text(Tag.path, checkPath(options.path)).number(Tag.mode, options.mode);
}

function acceptorOf(connection: GuestConnection, onConnection: (socket: GuestSocket) => void): Acceptor {
  return (open) => {
    const stream = open({
      result: () => undefined,
      failed: () => undefined,
      // This side answers: RESULT as soon as both halves are closed.
      halfClosed() {
        if (stream.inboundEnded && stream.outbound?.finished === true) connection.finish(stream, null);
      },
    });
    const socket = socketOf(stream, () => connection.finish(stream, 'cancelled'));
    try {
      onConnection(socket);
    } catch (error) {
      socket.destroy(error instanceof Error ? error : undefined);
    }
  };
}

/** A connection whose halves are both closed ends by itself; any other has to be given up. */
function closeSocket(stream: GuestStream): void {
  if (!stream.inboundEnded || stream.outbound?.finished !== true) stream.cancel();
}

function socketOf(stream: GuestStream, abort: () => void): GuestSocket {
  const inbound = stream.queue(Channel.main);
  return new GuestSocket({ inbound, outbound: requireOutbound(stream.outbound), abort });
}
