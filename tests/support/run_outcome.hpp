// How a run of a job ends, by one name: the state and the reason to wait of a worker's result.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "api/worker_messages.hpp"

namespace vmad::support {

struct Outcome {
    api::JobState state;
    std::optional<api::WaitReason> waiting_for{};
    friend bool operator==(const Outcome&, const Outcome&) = default;

    [[nodiscard]] api::WorkerResult because(const std::string& reason) const {
        return {.state = state, .waiting_for = waiting_for, .reason = reason};
    }
    [[nodiscard]] api::WorkerResult sized(std::uint64_t before, std::uint64_t after) const {
        return {.state = state, .waiting_for = waiting_for, .size_before = before, .size_after = after};
    }
};

namespace outcome {

inline constexpr Outcome done{api::JobState::done};
inline constexpr Outcome unchanged{api::JobState::unchanged};
inline constexpr Outcome vanished{api::JobState::vanished};
inline constexpr Outcome failed{api::JobState::failed};
inline constexpr Outcome stopped{api::JobState::queued};
inline constexpr Outcome retry{api::JobState::waiting, api::WaitReason::retry};
inline constexpr Outcome no_space{api::JobState::waiting, api::WaitReason::space};
inline constexpr Outcome no_storage{api::JobState::waiting, api::WaitReason::storage};
inline constexpr Outcome locked{api::JobState::waiting, api::WaitReason::locked};
inline constexpr Outcome too_recent{api::JobState::waiting, api::WaitReason::too_recent};
inline constexpr Outcome in_grace_period{api::JobState::waiting, api::WaitReason::grace_period};

inline constexpr std::array all{done,     unchanged,  vanished, failed,     stopped,        retry,
                                no_space, no_storage, locked,   too_recent, in_grace_period};

}  // namespace outcome

[[nodiscard]] inline Outcome outcome_of(const api::WorkerResult& result) {
    return {result.state, result.waiting_for};
}

}  // namespace vmad::support
