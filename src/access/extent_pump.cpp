#include "access/extent_pump.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace vmad::access {
namespace {

/// In a sentence that is to be read.
constexpr std::size_t kMostNames = 4;

}  // namespace

bool next_extent(vma::ArchiveReader& reader, vma::Extent& extent) {
    try {
        return reader.next(extent);
    } catch (const base::FormatError& error) {
        auto names = reader.incomplete_devices();
        if (names.empty()) throw;
        const auto more = names.size() - std::min(names.size(), kMostNames);
        names.resize(names.size() - more);
        throw error.followed_by(fmt::format("; not read to the end: {}{}", fmt::join(names, ", "),
                                            more == 0 ? "" : fmt::format(" and {} more", more)));
    }
}

ExtentPump::ExtentPump(Read read, unsigned workers, const base::CancelFlag& cancel, Callbacks callbacks)
    : read_(std::move(read)),
      cancel_(cancel),
      callbacks_(std::move(callbacks)),
      // One extent for each worker to take up while it is busy with another: more would only be memory.
      queue_(workers + 1),
      running_(workers + 1) {
    try {
        threads_.emplace_back([this] { read_all(); });
        for (unsigned worker = 0; worker < workers; ++worker)
            threads_.emplace_back([this, worker] { work(worker); });
    } catch (...) {
        // No more threads to be had; those that run must not wait for the ones that never will.
        callbacks_.ended(true);
        stop();
        throw;
    }
}

ExtentPump::~ExtentPump() { stop(); }

void ExtentPump::stop() noexcept {
    queue_.abort();
    for (auto& thread : threads_)
        if (thread.joinable()) thread.join();
}

void ExtentPump::join() {
    for (auto& thread : threads_) thread.join();
    error_.rethrow();
}

void ExtentPump::read_all() {
    try {
        for (vma::Extent extent; read_(extent);) {
            cancel_.check();
            if (!queue_.push(std::move(extent))) break;
            callbacks_.progress();
        }
        queue_.close();
    } catch (...) {
        error_.capture();
        queue_.abort();
    }
    end_thread();
}

void ExtentPump::work(unsigned worker) {
    try {
        while (const auto extent = queue_.pop()) callbacks_.work(*extent, worker);
    } catch (...) {
        error_.capture();
        queue_.abort();
    }
    end_thread();
}

void ExtentPump::end_thread() {
    if (error_.any() || --running_ == 0) callbacks_.ended(error_.any());
}

}  // namespace vmad::access
