/* The generic loop's part of the C interface: checks, memory, jobs. Part of dispatch.cpp, whose helpers it uses. */
#ifndef TIDEGATE_GENERIC_ENTRY_H
#define TIDEGATE_GENERIC_ENTRY_H

namespace {

using tg::GenericJob;

tg_status check_extras(const tg_layer *l, const tg_extras *e) {
  if (!e) return fail(TG_BAD_ARGUMENT, "extras: expected a structure, got NULL%s", "");
  if (const tg_status status = check(l); status != TG_OK) return status;
  if (l->zone_h || l->zone_c || l->drop_h || l->recompute || l->batch_sizes)
    return fail(TG_BAD_ARGUMENT, "zoneout, state dropout, recompute, batch_sizes: expected none in the generic loop%s", "");
  if (e->reset_before && l->cell != TG_GRU) return fail(TG_BAD_ARGUMENT, "reset_before: expected a GRU, got cell %d", l->cell);
  if (e->proj_size && l->cell != TG_LSTM) return fail(TG_BAD_ARGUMENT, "proj_size: expected an LSTM, got cell %d", l->cell);
  if (e->proj_size < 0 || e->proj_size > l->hidden_size)
    return fail(TG_BAD_ARGUMENT, "proj_size: expected 0 to %lld, got %lld", (long long)l->hidden_size, (long long)e->proj_size);
  if (e->layer_norm && !(e->eps > 0)) return fail(TG_BAD_ARGUMENT, "eps: expected a number above 0, got %g", e->eps);
  return TG_OK;
}

tg_status check_generic(const tg_layer *l, const tg_extras *e) {
  tg_status status = check_extras(l, e);
  if (status == TG_OK) status = check_weights(*l);
  for (int d = 0; status == TG_OK && e->proj_size && d < l->directions; ++d)
    if (!e->weight_hr[d]) status = fail(TG_BAD_ARGUMENT, "weight_hr: expected a matrix a direction, got NULL%s", "");
  return status;
}

GenericJob generic_job(const tg_layer &l, const tg_extras &e, const Kernels &k) {
  GenericJob job = {};
  job.job.layer = l;
  job.program = tg::program_of(l, e, k.lanes[l.dtype]);
  job.eps = e.eps;
  for (int d = 0; d < l.directions; ++d) {
    const void *given[tg::param_count] = {l.weight_ih[d], l.weight_hh[d], e.weight_hr[d], l.bias_ih[d], l.bias_hh[d],
                                          e.gain_ih[d],   e.gain_hh[d],   e.gain_c[d],    e.shift_c[d]};
    for (int p = 0; p < tg::param_count; ++p) job.params[p][d] = given[p];
  }
  return job;
}

/* Numbers that the reserve keeps: every slot but x for every step, states before the first step too. */
size_t reserve_numbers(const tg::Program &p, const tg_layer &l) {
  int64_t numbers = 0;
  for (int s = 1; s < p.slot_count; ++s) numbers += (tg::total_of(l) + (p.slots[s].state ? l.batch : 0)) * p.slots[s].row;
  return size_t(numbers * l.directions);
}

/* Bytes of the laid out parameters of one direction; sets the pointers where memory is given. */
size_t lay_out_program(GenericJob *job, int direction, char *memory, bool backward) {
  size_t used = 0;
  for (int k = 0; k < job->program.count; ++k) {
    const tg::Instruction &i = job->program.list[k];
    const tg::Slot &in = job->program.slots[i.views[0].slot], &out = job->program.slots[i.views[1].slot];
    const int64_t row = i.views[1].parts * out.part_row;
    const auto take = [&](void **part, int64_t count) {
      *part = memory ? memory + used : nullptr;
      used += size_t(tg::round_up(count * int64_t(number_bytes(job->job.layer))));
    };
    tg::Prepared *to = &job->prepared[direction][k];
    if (i.op > tg::op_norm) continue;
    if (i.op == tg::op_product && backward) {
      take(&to->backward, i.views[1].parts * out.size * in.part_row);
    } else {
      take(&to->forward, i.op == tg::op_norm ? row : row * in.size);
      take(&to->start, row);
    }
  }
  return used;
}

/* As execute(). */
tg_status execute_generic(GenericJob *all, const Kernels &k, int wanted, bool backward) {
  Job *job = &all->job;
  const tg_layer &l = job->layer;
  tg_layer one_unit = l;
  one_unit.hidden_size = 1; /* a plan for one unit never splits units: rows alone go to threads here */
  const Plan plan = tg::plan_of(one_unit, k, wanted, backward);
  job->groups = plan.groups.data();
  job->group_count = int(plan.groups.size());
  job->team_count = job->group_count * l.directions;
  job->total = plan.total;
  int64_t numbers = 0;
  for (int s = 0; s < all->program.slot_count; ++s) numbers += all->program.slots[s].row * (backward ? 2 : 1);
  constexpr int64_t cache = 1 << 19;
  all->block_rows = std::min(std::max(cache / (numbers * int64_t(number_bytes(l))), int64_t(96)), int64_t(512));
  std::vector<size_t> offsets;
  size_t bytes = 0;
  for (int team = 0; team < job->team_count; ++team) {
    offsets.push_back(bytes);
    bytes += size_t(k.generic_scratch_bytes(*all, plan.groups[size_t(team % job->group_count)], backward));
  }
  const size_t weights = lay_out_program(all, 0, nullptr, backward);
  const bool other_dx = backward && job->grad.dx && l.directions == 2;
  const size_t dx = other_dx ? size_t(l.batch * l.steps * l.input_size) * number_bytes(l) : 0;
  const Memory memory(bytes + 2 * weights + dx + 64);
  if (!memory.data()) return fail(TG_NO_MEMORY, "scratch: expected %zu bytes, got none", bytes + 2 * weights + dx);
  std::vector<char *> scratch;
  for (size_t offset : offsets) scratch.push_back(memory.data() + offset);
  job->scratch = scratch.data();
  for (int d = 0; d < l.directions; ++d) lay_out_program(all, d, memory.data() + bytes + size_t(d) * weights, backward);
  job->dx_other = other_dx ? memory.data() + bytes + 2 * weights : nullptr;
  struct Run {
    GenericJob *job;
    void (*body)(GenericJob *, int);
  } run = {all, backward ? k.generic_backward : k.generic_forward};
  const auto body = [](void *data, int rank) { static_cast<Run *>(data)->body(static_cast<Run *>(data)->job, rank); };
  tg::Lease lease(std::min(wanted, job->team_count));
  job->threads = lease.threads();
  if (lease.run(body, &run)) return TG_OK;
  job->threads = 1;
  body(&run, 0);
  return TG_OK;
}

constexpr uint64_t generic_magic = 0x32657461676564ull;
Header generic_header(const tg_layer &l, const tg_extras &e, const Kernels &k, int threads) {
  const int32_t options = int32_t(e.proj_size) * 4 + (e.layer_norm ? 2 : 0) + (e.reset_before ? 1 : 0);
  return {generic_magic, threads, k.lanes[l.dtype], l.cell, options, tg::total_of(l)};
}

}  // namespace

extern "C" {

size_t tg_generic_reserve_bytes(const tg_layer *layer, const tg_extras *extras) {
  const Kernels *k = kernels();
  if (!k || check_extras(layer, extras) != TG_OK) return 0;
  return header_bytes + reserve_numbers(tg::program_of(*layer, *extras, k->lanes[layer->dtype]), *layer) * number_bytes(*layer);
}

tg_status tg_generic_forward(const tg_layer *layer, const tg_extras *extras, const tg_outputs *out) {
  const Kernels *k = kernels();
  if (!k) return TG_NO_ISA;
  if (const tg_status status = check_generic(layer, extras); status != TG_OK) return status;
  if (!out || (layer->batch && (!out->hn || (layer->cell == TG_LSTM && !out->cn) || (!out->y && layer->steps))))
    return fail(TG_BAD_ARGUMENT, "outputs: expected y, hn and the LSTM's cn, got NULL%s", "");
  return guarded([&] {
    GenericJob job = generic_job(*layer, *extras, *k);
    const int threads = tg::get_threads();
    job.job.out = *out;
    job.job.keep = out->reserve != nullptr;
    if (job.job.keep) {
      const Header header = generic_header(*layer, *extras, *k, threads);
      std::memcpy(out->reserve, &header, sizeof header);
      job.job.reserve = static_cast<char *>(out->reserve) + header_bytes;
    }
    return execute_generic(&job, *k, threads, false);
  });
}

tg_status tg_generic_backward(const tg_layer *layer, const tg_extras *extras, const tg_gradients *io, const tg_extra_gradients *more) {
  const Kernels *k = kernels();
  if (!k) return TG_NO_ISA;
  if (const tg_status status = check_generic(layer, extras); status != TG_OK) return status;
  if (!io || !more || !io->reserve) return fail(TG_BAD_ARGUMENT, "gradients: expected two structures and the reserve, got NULL%s", "");
  return guarded([&] {
    GenericJob job = generic_job(*layer, *extras, *k);
    Header header;
    std::memcpy(&header, io->reserve, sizeof header);
    const Header expected = generic_header(*layer, *extras, *k, header.threads);
    if (std::memcmp(&header, &expected, sizeof header) != 0)
      return fail(TG_BAD_ARGUMENT, "reserve: expected that of this layer's forward pass on %s", k->name);
    job.job.grad = *io;
    job.job.reserve = static_cast<char *>(const_cast<void *>(io->reserve)) + header_bytes;
    for (int d = 0; d < layer->directions; ++d) {
      void *wanted[tg::param_count] = {io->dweight_ih[d],   io->dweight_hh[d],   more->dweight_hr[d], io->dbias_ih[d],     io->dbias_hh[d],
                                       more->dgain_ih[d], more->dgain_hh[d], more->dgain_c[d],    more->dshift_c[d]};
      for (int p = 0; p < tg::param_count; ++p) job.dparams[p][d] = wanted[p];
    }
    return execute_generic(&job, *k, header.threads, true);
  });
}

}  // extern "C"

#endif
