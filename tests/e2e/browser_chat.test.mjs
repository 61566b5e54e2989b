// SPDX-License-Identifier: MIT
//
// The demo in a browser: the application in C.

import { chatDemo } from './lib/chat_demo.mjs';

chatDemo('');
