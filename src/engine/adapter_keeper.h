#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/mutex.h"
#include "core/result.h"
#include "step/adapter.h"
#include "step/stage_link.h"

namespace commissure {

/// Adapters that a server knows by name at the same time, those in its folder included.
inline constexpr std::size_t kMaxAdapters = 4096;
inline constexpr std::size_t kMaxAdapterName = 128;

/// Letters, digits and ". _ -", the first one no sign, at most kMaxAdapterName bytes: names go into paths and logs.
bool is_adapter_name(std::string_view name);

struct AdapterOptions {
  std::vector<AdapterSource> known = {};              ///< from the start
  std::string folder = {};                            ///< what lies in it is an adapter of its name; empty: none
  std::uint64_t most_bytes = std::uint64_t{1} << 30;  ///< of the adapters that a stage keeps
  std::chrono::milliseconds load_timeout{600'000};
  /// The id of an adapter by its files, which takes time; empty: the engine takes no adapters.
  std::function<Result<AdapterId>(const std::string& path)> identify = {};
};

/// Which adapters there are, and which of them the stages have: loads them when they are first asked for, on a thread
/// of its own, one after the other, and drops those that were not used for the longest time when the stages have no
/// room for one more. The mutex is this class's own: a condition variable wakes its thread.
/// Threading: any thread may call any function; what is called back is called on the keeper's thread.
class AdapterKeeper {
 public:
  using Taken = std::function<void(Result<AdapterId>)>;
  using Failures = std::vector<std::pair<AdapterId, Error>>;

  /// `chain` outlives the keeper.
  AdapterKeeper(StageLink& chain, AdapterOptions options);
  /// Ends a load that goes on; who waits for one hears nothing any more.
  ~AdapterKeeper();

  AdapterKeeper(const AdapterKeeper&) = delete;
  AdapterKeeper& operator=(const AdapterKeeper&) = delete;

  const AdapterOptions& options() const { return options_; }
  /// All that can be asked for, by name. An id of 0: not read yet.
  std::vector<AdapterSource> list() const;
  /// Whether there is one of this name, loaded or not.
  bool knows(const std::string& name) const;
  /// Whether it is given or loaded, and not only there in the folder.
  bool has_loaded(const std::string& name) const;

  /// Makes an adapter known once all stages have loaded it, then calls `done`.
  /// Errors: kAlreadyExists, the name is taken; as those of `take`.
  void add(const std::string& name, const std::string& path, std::function<void(Status)> done);
  /// Forgets a name; sequences that use the adapter go on. One of the folder is back when it is asked for again.
  /// Errors: kNotFound.
  Status remove(const std::string& name);

  /// Counts a use of an adapter, until give_back: at once where all stages have it, else `later` tells how it went.
  /// Several who ask for the same one wait for the same load.
  /// Errors of `later`: kNotFound, no such adapter; kResourceExhausted, the adapters in use leave it no room;
  /// kInvalidArgument, it is broken, or larger than all the room; as StageLink::load_adapter.
  std::optional<AdapterId> take(const std::string& name, Taken later);
  void give_back(AdapterId id);
  bool has_users() const;

  /// The stages may have lost all: each adapter is loaded again before it is used.
  void distrust();
  /// Loads the adapters in use again, on all stages; what failed is told.
  void reload(std::function<void(Failures)> done);

 private:
  struct Named {
    AdapterSource source;
    std::uint64_t n_bytes = 0;  ///< where it was loaded once
  };
  struct Resident {
    AdapterSource source;
    std::uint64_t n_bytes = 0;
    int n_users = 0;
    std::uint64_t last_use = 0;
    bool is_there = true;  ///< on all stages, as far as is known
  };
  struct Waiter {
    Taken call;
    bool uses = true;
  };
  struct Job {
    std::string name;
    std::string path;  ///< of one to be added; empty: as it is known
    std::vector<Waiter> waiters;
  };

  void work(const std::stop_token& stop);
  void run_load(const Job& job, const std::stop_token& stop);
  void run_reload(const std::function<void(Failures)>& done, const std::stop_token& stop);
  void run_drops();
  Result<AdapterId> bring(const Job& job, const std::stop_token& stop);
  Result<std::string> path_of(const std::string& name) const;
  std::optional<std::string> path_in_folder(const std::string& name) const;
  /// Drops unused adapters until `n_bytes` more fit beside the others; what is to be dropped goes to dropped_.
  Status make_room(std::uint64_t n_bytes, AdapterId but) REQUIRES(mutex_);
  bool is_named(AdapterId id) const REQUIRES(mutex_);
  /// Drops what has neither users nor a name, or is not there for sure.
  void sweep() REQUIRES(mutex_);

  StageLink& chain_;
  const AdapterOptions options_;
  mutable Mutex mutex_;
  StoppableCondition changed_;
  std::map<std::string, Named> names_ GUARDED_BY(mutex_);
  std::unordered_map<AdapterId, Resident> residents_ GUARDED_BY(mutex_);
  std::deque<Job> jobs_ GUARDED_BY(mutex_);  // the first may be under way
  std::function<void(Failures)> reload_ GUARDED_BY(mutex_);
  std::vector<AdapterId> dropped_ GUARDED_BY(mutex_);  // the stages are to be told
  std::uint64_t clock_ GUARDED_BY(mutex_) = 0;
  std::uint64_t n_distrusts_ GUARDED_BY(mutex_) = 0;
  std::jthread thread_;  // last
};

}  // namespace commissure
