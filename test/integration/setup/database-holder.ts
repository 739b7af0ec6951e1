/** A process that keeps the database of a folder open until its standard input ends. */
import { once } from 'node:events';
import { argv, stdin, stdout } from 'node:process';
import { openDatabase } from '@holdfast/db';

const folder = argv[2];
if (folder === undefined) throw new Error('give a folder');
const database = await openDatabase({ embedded: { folder } });
stdout.write('open\n');
stdin.resume();
await once(stdin, 'end');
await database.close();
