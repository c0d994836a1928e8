// What a program writes, as lines for the log: of bounded length, and boundedly many.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace vmad::daemon {

/// However the bytes are portioned, the lines are the same. No thread rule.
class OutputLines {
  public:
    /// A longer line is cut, and ends in "…".
    static constexpr std::size_t kMaxLineBytes = 1024;
    /// What follows is dropped, which one more line says.
    static constexpr std::size_t kMaxLines = 100;

    /// `on_line` gets each line that is not empty, without its '\n'.
    explicit OutputLines(std::function<void(std::string_view)> on_line) : on_line_(std::move(on_line)) {}

    void add(std::string_view bytes);
    /// The program has ended; its last line may lack the '\n'.
    void finish();

  private:
    void append(std::string_view part);
    void end_line();

    std::function<void(std::string_view)> on_line_;
    std::string line_;
    bool cut_ = false;
    std::size_t count_ = 0;
};

}  // namespace vmad::daemon
