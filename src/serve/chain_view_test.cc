#include "serve/chain_view.h"

#include <gtest/gtest.h>

#include "support/eventually.h"
#include "support/fake_stage.h"

namespace commissure {
namespace {

using namespace std::chrono_literals;
using testing::eventually;

TEST(ChainView, ALookWithoutMemoryIsNotTheLast) {
  const SocketDir dir;
  FakeProcess b(fake_info(1, 2), dir.endpoint("b"));
  StageClient client(dir.endpoint("b"));
  ScarceMemory memory;
  ChainView view({[&] {
                    memory.spend();
                    return fake_info(0, 2);
                  },
                  [] {}},
                 &client);
  const auto shown_bytes = [&] { return view.to_json()["stages"][1]["weight_bytes"].get<int>(); };
  EXPECT_EQ(shown_bytes(), 100);
  b.change([](StageInfo& info) { info.weight_bytes = 7; });
  std::this_thread::sleep_for(150ms);  // the last answer is old enough to ask anew
  memory.arm(0);
  EXPECT_THROW(view.to_json(), std::bad_alloc);
  EXPECT_TRUE(eventually([&] { return shown_bytes() == 7; }));
}

}  // namespace
}  // namespace commissure
