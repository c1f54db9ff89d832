#pragma once

#include <atomic>
#include <cstddef>

namespace commissure {

/// Bytes that all bodies and unsent answers of a server may take together. Each holder has a share that it grows and
/// shrinks; the first kFree bytes of a share count nothing, so that ordinary requests go on while large ones are
/// refused. Threading: shares of one budget may be changed by several threads, one share by one thread at a time.
class ByteBudget {
 public:
  static constexpr std::size_t kFree = std::size_t{64} << 10;

  explicit ByteBudget(std::size_t limit) : limit_(limit) {}
  std::size_t used() const { return used_; }

  class Share {
   public:
    /// `budget` outlives the share.
    explicit Share(ByteBudget& budget) : budget_(&budget) {}
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() { budget_->used_ -= counted_; }

    /// Holds `n_bytes` from here on. False, and nothing changes, when that grows the share beyond what is left.
    [[nodiscard]] bool resize(std::size_t n_bytes) {
      const std::size_t wanted = n_bytes > kFree ? n_bytes : 0;
      if (wanted > counted_) {
        const std::size_t more = wanted - counted_;
        if (budget_->used_.fetch_add(more) + more > budget_->limit_) {
          budget_->used_ -= more;
          return false;
        }
      } else {
        budget_->used_ -= counted_ - wanted;
      }
      counted_ = wanted;
      return true;
    }

    std::size_t counted() const { return counted_; }

   private:
    ByteBudget* budget_;
    std::size_t counted_ = 0;
  };

 private:
  const std::size_t limit_;
  std::atomic<std::size_t> used_ = 0;
};

}  // namespace commissure
