#pragma once

#include <optional>
#include <string>
#include <vector>

#include "answer/answer_delta.h"

namespace commissure {

/// What the parts of an answer are, in APIs whose answers are lists of them.
enum class BlockKind { kThought, kText, kCall };

/// The next piece of an answer's blocks.
struct BlockPiece {
  BlockKind kind;
  bool begins = false;    ///< a new block, which ends the one before
  std::string text = {};  ///< a thought's, a text's, or a call's arguments
  std::string id = {};    ///< of a call that begins
  std::string name = {};
};

/// Puts the parts of an answer into blocks, one after the other.
class BlockOrder {
 public:
  std::vector<BlockPiece> pieces_of(AnswerDelta delta);

 private:
  std::optional<BlockKind> open_;
};

/// Adds a piece to the blocks so far, each with all of its text.
void add_piece(std::vector<BlockPiece>& blocks, BlockPiece piece);

}  // namespace commissure
