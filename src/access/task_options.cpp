#include "access/task_options.hpp"

#include <algorithm>
#include <thread>

namespace vmad::access {

const base::CancelFlag& TaskOptions::cancel_flag() const noexcept {
    static const base::CancelFlag never;
    return cancel != nullptr ? *cancel : never;
}

unsigned default_threads() noexcept { return std::clamp(std::thread::hardware_concurrency() / 2, 1u, 4u); }

}  // namespace vmad::access
