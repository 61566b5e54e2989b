// SPDX-License-Identifier: MIT
//
// The demo in a browser: the application as a web hook in PHP.

import { chatDemo } from './lib/chat_demo.mjs';

chatDemo('docs/examples/chat.php');
