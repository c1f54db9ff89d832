#include "wire/handshake.h"

namespace commissure {
namespace {

Status check_versions(const StageInfo& self, const Hello& hello) {
  if (hello.stages.empty()) return Error(Code::kFailedPrecondition, "the hello names no stage");
  const StageInfo& peer = hello.stages.front();
  if (hello.protocol_version != kProtocolVersion) {
    return Error(Code::kFailedPrecondition, "stage ", self.plan.name(), " speaks wire version ", kProtocolVersion,
                 " and stage ", peer.plan.name(), " version ", hello.protocol_version,
                 "; run the same release on both");
  }
  if (hello.block_positions != kBlockPositions) {
    return Error(Code::kFailedPrecondition, "stage ", self.plan.name(), " keeps ", kBlockPositions,
                 " positions in a block and stage ", peer.plan.name(), " ", hello.block_positions,
                 "; run the same release on both");
  }
  return {};
}

}  // namespace

Hello client_hello(const StageInfo& self, const ChainSession& session) {
  Hello hello;
  hello.session = session.name;
  hello.stages = {self};
  hello.resumes = session.resumes;
  hello.epoch = session.epoch;
  return hello;
}

StageSpan lost_stages(const Hello& hello) {
  StageSpan lost;
  for (std::size_t i = 0; i < hello.stages.size(); ++i) {
    const int index = hello.stages[i].plan.index;
    if (i >= hello.kept.size() || !hello.kept[i]) lost = lost | StageSpan{index, index};
  }
  return lost;
}

Status accept_client_hello(const StageInfo& self, const Hello& hello) {
  TRY(check_versions(self, hello));
  return validate_neighbours(hello.stages.back(), self);
}

Status accept_server_hello(const StageInfo& self, const Hello& hello) {
  TRY(check_versions(self, hello));
  std::vector<StageInfo> chain = {self};
  chain.insert(chain.end(), hello.stages.begin(), hello.stages.end());
  if (self.plan.is_first()) return validate_chain(chain);
  for (std::size_t i = 1; i < chain.size(); ++i) TRY(validate_neighbours(chain[i - 1], chain[i]));
  if (!chain.back().plan.is_last()) {
    return Error(Code::kFailedPrecondition, "the chain ends with stage ", chain.back().plan.name(), " of ",
                 chain.back().plan.n_stages, ": the stages after it are missing");
  }
  return {};
}

}  // namespace commissure
