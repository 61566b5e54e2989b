// SPDX-License-Identifier: MIT
//
// The demo in a browser: the application as a web hook in Python.

import { chatDemo } from './lib/chat_demo.mjs';

chatDemo('docs/examples/chat_hook.py');
