//! A rust-libp2p peer that the interop tests drive: commands come in on stdin, one per line, what happens goes out on stdout.
//!
//! It is a rendezvous point and client, a relay and its client, and answers identify and ping. The first argument is the shortest time to live
//! that its rendezvous point grants, in seconds.

use std::{error::Error, time::Duration};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, identify,
    multiaddr::Protocol,
    noise, ping, relay, rendezvous,
    rendezvous::{Cookie, Namespace},
    swarm::{NetworkBehaviour, Swarm, SwarmEvent},
    tcp, yamux,
};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::Behaviour,
    relay_client: relay::client::Behaviour,
    point: rendezvous::server::Behaviour,
    rendezvous: rendezvous::client::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let min_ttl = std::env::args().nth(1).map_or(Ok(rendezvous::MIN_TTL), |text| text.parse())?;
    let mut swarm = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_relay_client(noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key, relay_client| Behaviour {
            relay: relay::Behaviour::new(key.public().to_peer_id(), relay::Config::default()),
            relay_client,
            point: rendezvous::server::Behaviour::new(rendezvous::server::Config::default().with_min_ttl(min_ttl)),
            rendezvous: rendezvous::client::Behaviour::new(key.clone()),
            identify: identify::Behaviour::new(identify::Config::new("/interop/1".into(), key.public())),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_millis(200))),
        })?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        .build();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    let mut commands = BufReader::new(stdin()).lines();
    let mut cookie: Option<Cookie> = None;
    loop {
        tokio::select! {
            line = commands.next_line() => match line? {
                None => return Ok(()), // the tests are gone
                Some(line) => if let Err(error) = obey(&mut swarm, &line, &mut cookie) {
                    println!("error {line}: {error}");
                }
            },
            event = swarm.select_next_some() => tell(&mut swarm, event, &mut cookie),
        }
    }
}

fn obey(swarm: &mut Swarm<Behaviour>, line: &str, cookie: &mut Option<Cookie>) -> Result<(), Box<dyn Error>> {
    let words: Vec<&str> = line.split(' ').collect();
    let word = |n: usize| words.get(n).copied().ok_or("a word is missing");
    let peer = |n: usize| -> Result<PeerId, Box<dyn Error>> { Ok(word(n)?.parse()?) };
    let name = |n: usize| -> Result<Namespace, Box<dyn Error>> { Ok(Namespace::new(word(n)?.to_owned())?) };
    match words[0] {
        "dial" => swarm.dial(word(1)?.parse::<Multiaddr>()?)?,
        "reserve" => {
            swarm.listen_on(word(1)?.parse::<Multiaddr>()?.with(Protocol::P2pCircuit))?;
        }
        "register" => swarm.behaviour_mut().rendezvous.register(name(2)?, peer(1)?, word(3).ok().map(str::parse).transpose()?)?,
        "unregister" => swarm.behaviour_mut().rendezvous.unregister(name(2)?, peer(1)?),
        "discover" => {
            let known = if words.get(3) == Some(&"more") { cookie.clone() } else { None };
            swarm.behaviour_mut().rendezvous.discover(Some(name(2)?), known, Some(10), peer(1)?);
        }
        other => return Err(format!("no such command: {other}").into()),
    }
    Ok(())
}

fn tell(swarm: &mut Swarm<Behaviour>, event: SwarmEvent<BehaviourEvent>, cookie: &mut Option<Cookie>) {
    match event {
        SwarmEvent::NewListenAddr { address, .. } => {
            // What peers are told and relays put into reservations; nobody else would confirm a loopback address.
            if !address.iter().any(|part| part == Protocol::P2pCircuit) {
                swarm.add_external_address(address.clone());
                println!("listening {address}/p2p/{}", swarm.local_peer_id());
            } else {
                println!("relayed {address}");
            }
        }
        SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => {
            println!("connected {peer_id} {}", if endpoint.is_relayed() { "relayed" } else { "direct" });
        }
        SwarmEvent::OutgoingConnectionError { error, .. } => println!("unreachable {error:?}"),
        SwarmEvent::ListenerClosed { reason: Err(error), .. } => println!("unreserved {error:?}"),
        SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { peer, result: Ok(_), .. })) => println!("pinged {peer}"),
        SwarmEvent::Behaviour(BehaviourEvent::RelayClient(relay::client::Event::ReservationReqAccepted { relay_peer_id, limit, .. })) => {
            println!("reserved {relay_peer_id} {}", if limit.is_some() { "limited" } else { "unlimited" });
        }
        SwarmEvent::Behaviour(BehaviourEvent::Relay(relay::Event::ReservationReqAccepted { src_peer_id, .. })) => println!("granted {src_peer_id}"),
        SwarmEvent::Behaviour(BehaviourEvent::Relay(relay::Event::CircuitReqAccepted { src_peer_id, dst_peer_id })) => {
            println!("circuit {src_peer_id} {dst_peer_id}");
        }
        SwarmEvent::Behaviour(BehaviourEvent::Point(event)) => match event {
            rendezvous::server::Event::PeerRegistered { peer, registration } => println!("took {peer} {} {}", registration.namespace, registration.ttl),
            rendezvous::server::Event::PeerNotRegistered { peer, namespace, error } => println!("refused {peer} {namespace} {error:?}"),
            rendezvous::server::Event::PeerUnregistered { peer, namespace } => println!("removed {peer} {namespace}"),
            rendezvous::server::Event::DiscoverServed { enquirer, registrations } => println!("served {enquirer} {}", registrations.len()),
            _ => {}
        },
        SwarmEvent::Behaviour(BehaviourEvent::Rendezvous(event)) => match event {
            rendezvous::client::Event::Registered { namespace, ttl, .. } => println!("registered {namespace} {ttl}"),
            rendezvous::client::Event::RegisterFailed { namespace, error, .. } => println!("unregistered {namespace} {error:?}"),
            rendezvous::client::Event::Discovered { registrations, cookie: next, .. } => {
                *cookie = Some(next);
                println!("discovered {}", registrations.len());
                for r in registrations {
                    let addresses: Vec<String> = r.record.addresses().iter().map(ToString::to_string).collect();
                    println!("found {} {} {} {}", r.record.peer_id(), r.namespace, r.ttl, addresses.join(","));
                }
            }
            rendezvous::client::Event::DiscoverFailed { error, .. } => println!("undiscovered {error:?}"),
            _ => {}
        },
        _ => {}
    }
}
