// The messages of Varlink (https://varlink.org/Method-Call): calls, replies and the standard errors.
//
// Pure data and its JSON form, checked strictly in both directions; no I/O and no thread rule.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace vmad::varlink {

struct Call {
    std::string method;  ///< "org.example.Interface.Method"
    nlohmann::json parameters = nlohmann::json::object();
    bool more = false;    ///< the caller takes any number of replies
    bool oneway = false;  ///< the caller takes no reply
    friend bool operator==(const Call&, const Call&) = default;
};

struct Reply {
    nlohmann::json parameters = nlohmann::json::object();
    bool continues = false;  ///< another reply to the same call follows
    std::string error;       ///< empty for success
    friend bool operator==(const Reply&, const Reply&) = default;
};

/// The other side sent something that is not Varlink. The connection is of no further use.
class ProtocolError : public base::Error {
  public:
    using Error::Error;
};

/// An error reply: a handler throws it to answer with it, and the client throws what it received.
class RemoteError : public base::Error {
  public:
    explicit RemoteError(std::string name, nlohmann::json parameters = nlohmann::json::object());
    /// The full name, "org.example.Interface.Error".
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const nlohmann::json& parameters() const noexcept { return parameters_; }

  private:
    std::string name_;
    nlohmann::json parameters_;
};

/// `more`, `oneway`, `continues` and empty parameters or errors are left out when they say nothing.
void to_json(nlohmann::json& out, const Call& call);
void to_json(nlohmann::json& out, const Reply& reply);
/// Both throw ProtocolError for a missing, mistyped or unknown field, and for flags that exclude each other.
void from_json(const nlohmann::json& in, Call& call);
void from_json(const nlohmann::json& in, Reply& reply);

/// The standard interface that every service has.
inline constexpr char kServiceInterface[] = "org.varlink.service";

[[nodiscard]] RemoteError interface_not_found(const std::string& interface);
[[nodiscard]] RemoteError method_not_found(const std::string& method);
[[nodiscard]] RemoteError method_not_implemented(const std::string& method);
[[nodiscard]] RemoteError invalid_parameter(const std::string& parameter);
[[nodiscard]] RemoteError permission_denied();
[[nodiscard]] RemoteError expected_more();

}  // namespace vmad::varlink
