// All tests in one process: quick to start, and one list of results.
import './time.test.js';
import './interval.test.js';
import './calendar.test.js';
