import './time.test.js';
import './interval.test.js';
import './calendar.test.js';
import { runAll } from './suite.js';

await runAll();
