#include "base/task.hpp"

#include <algorithm>
#include <thread>

namespace vmad::base {

const CancelFlag& TaskOptions::cancel_flag() const noexcept {
    static const CancelFlag never;
    return cancel != nullptr ? *cancel : never;
}

unsigned default_threads() noexcept { return std::clamp(std::thread::hardware_concurrency() / 2, 1u, 4u); }

}  // namespace vmad::base
