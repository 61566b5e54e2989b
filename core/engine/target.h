/*
 * From an application's target to the store's; both borrow from the call.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_TARGET_H
#define SIOLITE_CORE_ENGINE_TARGET_H

#include "core/engine/call.h"

struct store_target target_of(const struct app_to *t);

#endif
