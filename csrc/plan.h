/* From a call's sizes to its plan: layout in memory, groups of rows, teams of threads. In: tg_layer. Out: Plan. May throw bad_alloc. */
#ifndef TIDEGATE_PLAN_H
#define TIDEGATE_PLAN_H

#include <vector>

#include "core.h"

namespace tg {

struct Plan {
  Layout layout;
  std::vector<int64_t> numbers; /* what the groups point to */
  std::vector<Group> groups;
  int64_t total;
  int team_size; /* where all threads can be had */
};

Layout layout_of(const tg_layer &layer, const Kernels &kernels, bool backward);
/* Groups of rows for `threads` threads; the backward pass may name the number of groups that the forward took. */
Plan plan_of(const tg_layer &layer, const Kernels &kernels, int threads, bool backward);
int64_t total_of(const tg_layer &layer);

}  // namespace tg
#endif
