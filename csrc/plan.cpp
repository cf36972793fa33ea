#include "plan.h"

#include <algorithm>
#include <numeric>

namespace tg {
namespace {

/* Between two products with x lie as many rows as keep their gates and inputs in the second-level cache, and enough of them for
 * full tiles and few passes over the sums of the weights' gradients. */
int64_t block_rows(int64_t numbers_a_row, int64_t bytes_a_number, bool backward) {
  const int64_t cache = backward ? 1 << 20 : 1 << 19, least = backward ? 192 : 96, most = 512;
  return std::min(std::max(cache / (numbers_a_row * bytes_a_number), least), most);
}

struct Split {
  int groups, team_size;
};

/* Rows side by side on several threads need no meeting, but each thread then reads all weights for few rows; splitting the units
 * costs a meeting a step, which must be small beside the step. */
Split split(const tg_layer &layer, int gates, int threads) {
  const int each = std::max(1, threads / layer.directions);
  if (each == 1 || layer.batch == 0) return {1, 1};
  const double step = double(gates) * double(layer.hidden_size) * double(layer.hidden_size) * double(layer.batch);
  constexpr double call = 1 << 17; /* multiply-adds of a whole call that pay for waking a thread */
  if (step * double(layer.steps) < call) return {1, 1};
  constexpr double meeting = 16384; /* multiply-adds of a thread that pay for a meeting */
  if (layer.batch < 4 * each && step / each >= meeting) return {1, each};
  return {int(std::min<int64_t>(each, layer.batch)), 1};
}

/* The group of each row, longest row first. Neighbours stay together where they can, since a thread's rows then follow each other in
 * memory: rows of one length in equal shares; others a few of like length at a time, to the group with the fewest steps so far. */
std::vector<int> owners(const std::vector<int64_t> &sorted, const tg_layer &layer, int groups) {
  const size_t all = sorted.size();
  std::vector<int> owner(all);
  std::vector<int64_t> steps(size_t(groups), 0);
  if (!layer.lengths || (all && layer.lengths[sorted.front()] == layer.lengths[sorted.back()])) {
    for (size_t k = 0; k < all; ++k) owner[k] = int(k * size_t(groups) / all);
    return owner;
  }
  const size_t most_together = std::clamp<size_t>(all / (4 * size_t(groups)), 1, 4);
  for (size_t k = 0; k < all;) {
    const int64_t longest = layer.lengths[sorted[k]];
    const int least = int(std::min_element(steps.begin(), steps.end()) - steps.begin());
    for (size_t n = 0; n < most_together && k < all && 4 * layer.lengths[sorted[k]] >= 3 * longest; ++n, ++k) {
      owner[k] = least;
      steps[size_t(least)] += layer.lengths[sorted[k]];
    }
  }
  return owner;
}

void add_group(Plan *plan, const std::vector<int64_t> &sorted, const std::vector<int> &owner, const tg_layer &layer, int which, int64_t *at) {
  Group group = {};
  int64_t *order = at;
  for (size_t k = 0; k < sorted.size(); ++k)
    if (owner[k] == which) order[group.rows++] = sorted[k];
  const auto length = [&](int64_t k) { return layer.lengths ? layer.lengths[order[k]] : layer.steps; };
  group.steps = group.rows ? length(0) : 0;
  int64_t *active = order + group.rows, *offset = active + group.steps + 1;
  int64_t n = group.rows;
  for (int64_t t = 0; t <= group.steps; ++t) {
    while (n > 0 && length(n - 1) <= t) --n;
    active[t] = n;
    offset[t] = group.total;
    group.total += n;
  }
  group.order = order;
  group.active = active;
  group.offset = offset;
  group.before = plan->total;
  plan->total += group.total;
  plan->groups.push_back(group);
}

}  // namespace

int64_t total_of(const tg_layer &layer) {
  if (layer.batch_sizes) return std::accumulate(layer.batch_sizes, layer.batch_sizes + layer.steps, int64_t(0));
  return layer.lengths ? std::accumulate(layer.lengths, layer.lengths + layer.batch, int64_t(0)) : layer.batch * layer.steps;
}

Layout layout_of(const tg_layer &layer, const Kernels &kernels, bool backward) {
  Layout l = {};
  l.lanes = kernels.lanes[layer.dtype];
  l.blocks = (layer.hidden_size + l.lanes - 1) / l.lanes;
  l.kept = layer.cell == TG_LSTM || layer.cell == TG_GRU ? 4 : 1;
  l.gates = layer.cell == TG_GRU ? 3 : l.kept;
  l.h_row = l.blocks * l.lanes;
  l.kept_row = l.h_row * l.kept;
  l.gate_rows = l.h_row * l.gates;
  l.x_vectors = (layer.input_size + l.lanes - 1) / l.lanes;
  l.x_row = (l.x_vectors + 1) * l.lanes;
  l.hs_row = l.h_row + l.lanes;
  l.d_row = l.kept_row + l.lanes;
  l.block_rows = block_rows(l.kept_row + l.x_row + (backward ? l.hs_row : 0), layer.dtype == TG_F32 ? 4 : 8, backward);
  return l;
}

Plan plan_of(const tg_layer &layer, const Kernels &kernels, int threads, bool backward) {
  Plan plan = {};
  plan.layout = layout_of(layer, kernels, backward);
  const Split chosen = split(layer, int(plan.layout.gates), threads);
  plan.team_size = chosen.team_size;
  std::vector<int64_t> sorted(size_t(layer.batch));
  std::iota(sorted.begin(), sorted.end(), int64_t(0));
  if (layer.lengths)
    std::stable_sort(sorted.begin(), sorted.end(), [&](int64_t a, int64_t b) { return layer.lengths[a] > layer.lengths[b]; });
  const int64_t numbers_a_group = 2 * (layer.steps + 1) + layer.batch;
  plan.numbers.resize(size_t(numbers_a_group * chosen.groups));
  plan.groups.reserve(size_t(chosen.groups));
  const std::vector<int> owner = owners(sorted, layer, chosen.groups);
  for (int g = 0; g < chosen.groups; ++g) add_group(&plan, sorted, owner, layer, g, plan.numbers.data() + g * numbers_a_group);
  return plan;
}

}  // namespace tg
