// SPDX-License-Identifier: MIT
//
// The demo in a browser: the application in SQL.

import { chatDemo } from './lib/chat_demo.mjs';

chatDemo('docs/examples/chat.sql');
