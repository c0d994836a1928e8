#include "codec/lzop_run.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/child_start.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

namespace vmad::codec {

ChildProgram start_lzop(std::vector<std::string> options) {
    const auto path = base::find_program("lzop");
    if (!path) throw base::Error("lzop is needed for .lzo and is not installed: apt install lzop");
    options.insert(options.begin(), "lzop");
    return {*path, std::move(options), "LZOP"};
}

void check_ended(const ProgramEnd& end, int max_status) {
    if (end.signal != 0) throw base::Error(fmt::format("lzop was ended by signal {}", end.signal));
    if (end.exit_status > max_status)
        throw base::Error(
            fmt::format("lzop failed with exit status {}: {}", end.exit_status, first_line(end)));
}

void Watch::begin_slice() {
    if (cancel_ != nullptr) cancel_->check();
    other_.error.rethrow();
    began_ = std::chrono::steady_clock::now();
}

void Watch::note_idle() {
    const auto moves = other_.moves();
    if (std::exchange(moves_, moves) != moves || other_.is_outside()) {
        idle_ = {};
        return;
    }
    // At most a slice, so that time in which this process was stopped does not count.
    idle_ += std::min<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - began_, kLzopSlice);
    if (idle_ < patience_) return;
    lzop_.kill();
    throw base::Error(fmt::format("lzop has done nothing for {:g} s and was killed",
                                  std::chrono::duration<double>(patience_).count()));
}

ProgramEnd Watch::wait_end() {
    for (;;) {
        begin_slice();
        if (auto end = lzop_.wait_end(kLzopSlice)) {
            // What ended lzop may be what ends us.
            begin_slice();
            return *std::move(end);
        }
        note_idle();
    }
}

}  // namespace vmad::codec
