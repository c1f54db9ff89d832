#include "engine/adapter_keeper.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "core/log.h"

// What is asked of the keeper; adapter_keeper_thread.cc does it.

namespace commissure {

namespace {

namespace fs = std::filesystem;

bool is_adapter(const fs::path& path) {
  std::error_code ignored;
  return path.extension() == ".gguf" ? fs::is_regular_file(path, ignored)
                                     : fs::is_regular_file(path / "adapter_config.json", ignored);
}

}  // namespace

bool is_adapter_name(std::string_view name) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  const auto may_follow = [&](char c) { return is_plain(c) || c == '.' || c == '_' || c == '-'; };
  return !name.empty() && name.size() <= kMaxAdapterName && is_plain(name.front()) &&
         std::ranges::all_of(name, may_follow);
}

AdapterKeeper::AdapterKeeper(StageLink& chain, AdapterOptions options) : chain_(chain), options_(std::move(options)) {
  for (const AdapterSource& source : options_.known) names_.emplace(source.name, Named{source});
  thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
}

AdapterKeeper::~AdapterKeeper() {
  thread_.request_stop();
  thread_.join();
}

std::vector<AdapterSource> AdapterKeeper::list() const {
  std::map<std::string, AdapterSource> all;
  {
    const MutexLock lock(mutex_);
    for (const auto& [name, named] : names_) all.emplace(name, named.source);
  }
  std::error_code problem;
  if (!options_.folder.empty()) {
    for (fs::directory_iterator at(options_.folder, problem), end; !problem && at != end; at.increment(problem)) {
      if (all.size() >= kMaxAdapters) break;
      const fs::path& path = at->path();
      const std::string name = (path.extension() == ".gguf" ? path.stem() : path.filename()).string();
      if (is_adapter_name(name) && !all.contains(name) && is_adapter(path)) all[name] = {{}, name, path.string()};
    }
  }
  std::vector<AdapterSource> list;
  list.reserve(all.size());
  for (auto& [name, source] : all) list.push_back(std::move(source));
  return list;
}

bool AdapterKeeper::knows(const std::string& name) const { return path_of(name).has_value(); }

bool AdapterKeeper::has_loaded(const std::string& name) const {
  const MutexLock lock(mutex_);
  return names_.contains(name);
}

std::optional<std::string> AdapterKeeper::path_in_folder(const std::string& name) const {
  if (options_.folder.empty() || !is_adapter_name(name)) return std::nullopt;
  for (const char* ending : {"", ".gguf"}) {
    const fs::path path = fs::path(options_.folder) / (name + ending);
    if (is_adapter(path)) return path.string();
  }
  return std::nullopt;
}

Result<std::string> AdapterKeeper::path_of(const std::string& name) const {
  {
    const MutexLock lock(mutex_);
    if (const auto known = names_.find(name); known != names_.end()) return known->second.source.path;
  }
  if (auto path = path_in_folder(name)) return *std::move(path);
  return Error(Code::kNotFound, "there is no such adapter");
}

void AdapterKeeper::add(const std::string& name, const std::string& path, std::function<void(Status)> done) {
  if (has_loaded(name)) return done(Error(Code::kAlreadyExists, "an adapter '", name, "' is loaded already"));
  const MutexLock lock(mutex_);
  Waiter waiter{[done = std::move(done)](const Result<AdapterId>& id) { done(id ? Status() : Status(id.error())); },
                false};
  jobs_.push_back({name, path, {std::move(waiter)}});
  changed_.notify_all();
}

Status AdapterKeeper::remove(const std::string& name) {
  const MutexLock lock(mutex_);
  if (names_.erase(name) == 0) return Error(Code::kNotFound, "no adapter '", name, "' is loaded");
  sweep();
  changed_.notify_all();
  return {};
}

std::optional<AdapterId> AdapterKeeper::take(const std::string& name, Taken later) {
  const MutexLock lock(mutex_);
  if (const auto known = names_.find(name); known != names_.end()) {
    const auto resident = residents_.find(known->second.source.id);
    if (resident != residents_.end() && resident->second.is_there) {
      ++resident->second.n_users;
      resident->second.last_use = ++clock_;
      return resident->first;
    }
  }
  Waiter waiter{std::move(later)};
  const auto same = [&](const Job& job) { return job.name == name && job.path.empty(); };
  if (const auto job = std::ranges::find_if(jobs_, same); job != jobs_.end()) {
    job->waiters.push_back(std::move(waiter));
    return std::nullopt;
  }
  Job& job = jobs_.emplace_back();
  job.name = name;
  job.waiters.push_back(std::move(waiter));
  changed_.notify_all();
  return std::nullopt;
}

void AdapterKeeper::give_back(AdapterId id) {
  const MutexLock lock(mutex_);
  const auto resident = residents_.find(id);
  if (resident == residents_.end()) return;
  --resident->second.n_users;
  resident->second.last_use = ++clock_;
  sweep();
  if (!dropped_.empty()) changed_.notify_all();
}

bool AdapterKeeper::has_users() const {
  const MutexLock lock(mutex_);
  return std::ranges::any_of(residents_, [](const auto& entry) { return entry.second.n_users > 0; });
}

void AdapterKeeper::distrust() {
  const MutexLock lock(mutex_);
  ++n_distrusts_;
  for (auto& [id, resident] : residents_) resident.is_there = false;
  sweep();
  if (!dropped_.empty()) changed_.notify_all();
}

void AdapterKeeper::reload(std::function<void(Failures)> done) {
  const MutexLock lock(mutex_);
  reload_ = std::move(done);
  changed_.notify_all();
}

bool AdapterKeeper::is_named(AdapterId id) const {
  return std::ranges::any_of(names_, [&](const auto& entry) { return entry.second.source.id == id; });
}

void AdapterKeeper::sweep() {
  for (auto it = residents_.begin(); it != residents_.end();) {
    const Resident& resident = it->second;
    const bool stays = resident.n_users > 0 || (resident.is_there && is_named(it->first));
    if (!stays) dropped_.push_back(it->first);
    it = stays ? std::next(it) : residents_.erase(it);
  }
}

Status AdapterKeeper::make_room(std::uint64_t n_bytes, AdapterId but) {
  if (n_bytes > options_.most_bytes) {
    return Error(Code::kInvalidArgument, "takes ", n_bytes, " bytes on a stage, which keeps ", options_.most_bytes,
                 " bytes of adapters: raise --adapter-bytes");
  }
  std::uint64_t n_taken = 0;
  for (const auto& [id, resident] : residents_) n_taken += id == but ? 0 : resident.n_bytes;
  while (n_taken + n_bytes > options_.most_bytes) {
    auto oldest = residents_.end();
    for (auto it = residents_.begin(); it != residents_.end(); ++it) {
      if (it->second.n_users > 0 || it->first == but) continue;
      if (oldest == residents_.end() || it->second.last_use < oldest->second.last_use) oldest = it;
    }
    if (oldest == residents_.end()) {
      return Error(Code::kResourceExhausted, "the adapters in use leave no room for its ", n_bytes,
                   " bytes: try again later, or raise --adapter-bytes above ", options_.most_bytes);
    }
    n_taken -= oldest->second.n_bytes;
    log_info("adapter dropped", {{"adapter", oldest->second.source.name}, {"bytes", oldest->second.n_bytes}});
    dropped_.push_back(oldest->first);
    residents_.erase(oldest);
  }
  return {};
}

}  // namespace commissure
