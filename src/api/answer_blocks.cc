#include "api/answer_blocks.h"

#include <utility>

namespace commissure {

std::vector<BlockPiece> BlockOrder::pieces_of(AnswerDelta delta) {
  std::vector<BlockPiece> pieces;
  const auto add = [&](BlockKind kind, std::string text) {
    if (text.empty()) return;
    pieces.push_back({.kind = kind, .begins = open_ != kind, .text = std::move(text)});
    open_ = kind;
  };
  auto call = delta.calls.begin();
  // What an open call still gets came before everything else.
  if (call != delta.calls.end() && call->id.empty()) add(BlockKind::kCall, std::move(call++->arguments));
  add(BlockKind::kThought, std::move(delta.reasoning));
  add(BlockKind::kText, std::move(delta.content));
  for (; call != delta.calls.end(); ++call) {
    pieces.push_back({BlockKind::kCall, true, std::move(call->arguments), std::move(call->id), std::move(call->name)});
    open_ = BlockKind::kCall;
  }
  return pieces;
}

void add_piece(std::vector<BlockPiece>& blocks, BlockPiece piece) {
  if (piece.begins) {
    blocks.push_back(std::move(piece));
  } else {
    blocks.back().text += piece.text;
  }
}

}  // namespace commissure
