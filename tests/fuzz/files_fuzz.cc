// The small files and strings of our own that anybody may have changed. The first byte names the reader, so that a seed
// says what it is.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "core/crc32c.h"
#include "fuzz/fuzz.h"
#include "local/local_state.h"
#include "net/host.h"
#include "plan/layer_times.h"
#include "step/stage_plan.h"
#include "weights/cloud_access.h"
#include "weights/location.h"
#include "weights/pack_file.h"
#include "wire/endpoint.h"

namespace {

using namespace commissure;
using fuzz::is_accepted;

void check_state(std::string_view text) {
  const auto state = parse_local_state(std::string(text));
  if (!is_accepted(state)) return;
  const std::string printed = dump_json(local_state_json(*state));
  const auto again = parse_local_state(printed);
  CHECK(again.has_value() && dump_json(local_state_json(*again)) == printed);
  for (std::size_t i = 0; i < state->stages.size(); ++i) {
    const auto [first, last] = state->chain.layers(i);
    CHECK(0 <= first && first < last && last <= state->chain.n_layers);
  }
  (void)is_alive(state->supervisor);
}

void check_layer_times(std::string_view text) {
  const auto times = parse_layer_times(text);
  if (!is_accepted(times)) return;
  CHECK(parse_layer_times(dump_json(layer_times_json(*times))).has_value());
  CHECK(seconds_for(times->kind_of(times->n_layers - 1).decode, 3) >= 0);
  (void)layer_times_text(*times);
}

constexpr std::string_view kPackedSource = "the matrix as the checkpoint has it";  // as make_corpus.cc packs it

/// The checksum of the table made right, since no change would get past it; that it is checked is for a unit test.
std::string with_right_sum(std::string_view text) {
  std::string bytes(text);
  std::uint64_t table = 0;
  if (bytes.size() < 64) return bytes;
  std::memcpy(&table, &bytes[16], sizeof table);
  if (table > bytes.size()) return bytes;
  const std::uint32_t sum = crc32c(std::as_bytes(std::span(bytes)).subspan(table));
  std::memcpy(&bytes[12], &sum, sizeof sum);
  return bytes;
}

void check_pack(std::string_view text) {
  static const int kFile = ::memfd_create("pack", 0);
  const std::string bytes = with_right_sum(text);
  CHECK(::ftruncate(kFile, 0) == 0);
  CHECK(std::cmp_equal(::pwrite(kFile, bytes.data(), bytes.size(), 0), bytes.size()));
  const auto pack = PackFile::open(fmt::format("/proc/self/fd/{}", kFile), "layout", "fingerprint");
  if (!is_accepted(pack)) return;
  for (const char* name : {"a", "b.weight"}) {
    for (const std::size_t n_bytes : {5u, 100u}) {
      const auto range = (*pack)->find(name, std::as_bytes(std::span(kPackedSource)), n_bytes);
      if (is_accepted(range)) CHECK((*pack)->holds(name) && range->bytes.size() == n_bytes);
      if (range) (void)crc32c(range->bytes);  // all of it can be read
    }
  }
}

void check_endpoint(std::string_view text) {
  const auto endpoint = parse_endpoint(text, true);
  if (is_accepted(endpoint)) {
    CHECK(!endpoint->target.empty() && endpoint->tls != endpoint->base_url.empty());
    const auto again = parse_endpoint((endpoint->tls ? "https://" : "") + endpoint->target, true);
    CHECK(again.has_value() && *again == *endpoint);
  }
  // Without leave, plaintext stays on this machine.
  const auto strict = parse_endpoint(text);
  if (is_accepted(strict)) CHECK(strict->tls || strict->stays_local);
}

void check_names(std::string_view text) {
  (void)is_loopback(text);
  (void)is_loopback(host_of(text));
  if (const auto cuts = parse_cuts(text); is_accepted(cuts)) {
    const auto plans = plan_stages(100, *cuts);
    if (is_accepted(plans)) CHECK(plans->front().layers.first == 0 && plans->back().layers.last == 100);
  }
  if (const auto name = parse_cloud_name("gs://" + std::string(text)); is_accepted(name)) {
    CHECK(name->bucket.find('/') == name->bucket.npos && !name->bucket.empty());
  }
  const std::string_view file = file_name_of(text);
  CHECK(text.find(file) != text.npos);
  (void)sibling_of(text, "b");
}

constexpr std::pair<char, void (*)(std::string_view)> kReaders[] = {
    {'s', check_state}, {'t', check_layer_times}, {'p', check_pack}, {'e', check_endpoint}, {'n', check_names}};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::dispatch(kReaders, data, size);
}
