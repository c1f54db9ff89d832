#include <algorithm>
#include <utility>

#include "core/log.h"
#include "core/scarce.h"
#include "engine/adapter_keeper.h"

// The keeper's thread: it loads and drops, one adapter after the other.

namespace commissure {

namespace {

/// What a broken file is to who asks for its adapter: no matter of the stream.
Error as_adapter_error(const Error& error, const std::string& name) {
  const Error named = error.within("adapter " + name);
  return named.code() == Code::kDataLoss ? Error(Code::kInvalidArgument, named.message()) : named;
}

}  // namespace

void AdapterKeeper::work(const std::stop_token& stop) {
  const MutexLock lock(mutex_);
  while (!stop.stop_requested()) {
    changed_.wait(mutex_, stop, [this]() REQUIRES(mutex_) { return reload_ || !dropped_.empty() || !jobs_.empty(); });
    if (stop.stop_requested()) return;
    const auto reload = std::exchange(reload_, nullptr);
    const std::optional<Job> job = jobs_.empty() || reload ? std::nullopt : std::optional(jobs_.front());
    const MutexUnlock free(mutex_);
    run_drops();
    if (reload) run_reload(reload, stop);
    if (job) run_load(*job, stop);
  }
}

void AdapterKeeper::run_drops() {
  std::vector<AdapterId> ids;
  {
    const MutexLock lock(mutex_);
    ids.swap(dropped_);
    std::erase_if(ids, [this](AdapterId id) REQUIRES(mutex_) { return residents_.contains(id); });
  }
  for (const AdapterId id : ids) chain_.drop_adapter(id);
}

void AdapterKeeper::run_reload(const std::function<void(Failures)>& done, const std::stop_token& stop) {
  std::vector<AdapterSource> used;
  std::uint64_t n_distrusts = 0;
  {
    const MutexLock lock(mutex_);
    n_distrusts = n_distrusts_;
    for (const auto& [id, resident] : residents_) {
      if (resident.n_users > 0) used.push_back(resident.source);
    }
  }
  Failures failures;
  for (const AdapterSource& source : used) {
    const auto loaded = chain_.load_adapter(source, options_.load_timeout, stop);
    if (!loaded) failures.emplace_back(source.id, as_adapter_error(loaded.error(), source.name));
    const MutexLock lock(mutex_);
    const auto resident = residents_.find(source.id);
    if (loaded && n_distrusts == n_distrusts_ && resident != residents_.end()) resident->second.is_there = true;
  }
  log_info("adapters in use are loaded again", {{"adapters", used.size()}, {"failed", failures.size()}});
  done(std::move(failures));
}

void AdapterKeeper::run_load(const Job& asked, const std::stop_token& stop) {
  using Brought = Result<AdapterId>;
  Brought brought =
      unless_scarce([&] { return bring(asked, stop); }, []() -> Brought { return no_memory(Code::kUnavailable); });
  std::vector<Waiter> waiters;
  {
    const MutexLock lock(mutex_);
    waiters = std::move(jobs_.front().waiters);  // those who came meanwhile, too
    jobs_.pop_front();
    const auto resident = brought ? residents_.find(*brought) : residents_.end();
    if (resident != residents_.end()) {
      for (const Waiter& waiter : waiters) resident->second.n_users += waiter.uses ? 1 : 0;
      resident->second.last_use = ++clock_;
    } else if (brought) {
      brought = Error(Code::kUnavailable, "a stage was lost when it was loaded");
    }
  }
  const Brought told = brought ? brought : Brought(as_adapter_error(brought.error(), asked.name));
  if (!told) log_warning("an adapter was not loaded", {{"why", told.error().to_string()}});
  for (const Waiter& waiter : waiters) waiter.call(told);
}

/// On success the adapter is resident and known by its name.
Result<AdapterId> AdapterKeeper::bring(const Job& job, const std::stop_token& stop) {
  AdapterSource source{{}, job.name, job.path.empty() ? TRY(path_of(job.name)) : job.path};
  source.id = TRY(options_.identify(source.path));
  std::uint64_t n_distrusts = 0;
  bool was_named = false;
  {
    const MutexLock lock(mutex_);
    n_distrusts = n_distrusts_;
    const auto named = names_.find(job.name);
    was_named = named != names_.end();
    if (named == names_.end() && names_.size() >= kMaxAdapters)
      return Error(Code::kResourceExhausted, kMaxAdapters, " adapters are known; unload one first");
    const auto resident = residents_.find(source.id);
    if (resident != residents_.end() && resident->second.is_there) {
      names_[job.name] = {source, resident->second.n_bytes};
      return source.id;
    }
    const bool is_known = named != names_.end() && named->second.source.id == source.id;
    if (is_known) TRY(make_room(named->second.n_bytes, source.id));
  }
  run_drops();
  const std::uint64_t n_bytes = TRY(chain_.load_adapter(source, options_.load_timeout, stop));
  Status fits;
  {
    const MutexLock lock(mutex_);
    if (n_distrusts != n_distrusts_) return Error(Code::kUnavailable, "a stage was lost while it was loaded");
    fits = make_room(n_bytes, source.id);
    if (fits && was_named && !names_.contains(job.name))
      fits = Error(Code::kNotFound, "it was unloaded while it was loaded");
    // Of one that found no room the size is remembered, so that it is not read again to find out.
    if (fits || job.path.empty()) names_[job.name] = {source, n_bytes};
    Resident& resident = residents_[source.id];
    resident.source = source;
    resident.n_bytes = n_bytes;
    resident.is_there = true;
    if (!fits && resident.n_users == 0) {
      residents_.erase(source.id);
      dropped_.push_back(source.id);
    }
  }
  run_drops();
  TRY(fits);
  return source.id;
}

}  // namespace commissure
